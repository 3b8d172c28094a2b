/* What a workload on top of the protocol stack is to the rest, and the one loop that runs it. */
#ifndef NET_APP_H
#define NET_APP_H

#include "lib/config.h"
#include "lib/exit.h"
#include "lib/util.h"
#include "net/stats.h"

/* Why a workload is to end. */
enum app_end {
    APP_GOES_ON,
    APP_TIME_IS_UP, /* seconds= have passed since app_run() began */
    APP_STOPPED,    /* the power button */
};

/* A function that is NULL does nothing, has work for no time, is ready at once, goes on until
 * it is to end, or finds that all went well. */
struct app {
    const struct stats_group *stats; /* its name is that of the workload */

    /* Opens ports. Called once, after stack_init(). False when cfg asks for what cannot be done;
     * the reason was logged. */
    bool (*start)(const struct config *cfg);

    /* Whether it can take, or make, traffic; waited_ms after the loop began. Asked in every pass
     * until it is true, then the ready event is printed. */
    bool (*ready)(uint64_t waited_ms);

    /* Its part of a pass: what it sends here reaches the device in the same pass. Returns the
     * things done, 0 when there were none. Never waits. */
    unsigned (*poll)(void);

    /* The time stamp counter at which poll() has something to do even if no frame comes;
     * UINT64_MAX: never. For a loop that sleeps. */
    uint64_t (*wake_tsc)(void);

    /* Once a millisecond. */
    void (*tick)(uint64_t now_ms);

    /* After each statistics line. */
    void (*printed)(void);

    /* Whether it has ended. Other than APP_GOES_ON: it is to end as soon as it can. */
    bool (*done)(enum app_end end);

    /* How it went, asked once at the end. */
    enum exit_status (*verdict)(void);
};

/* Starts the workload and runs it until it is done: prints the ready event, a statistics line each
 * cfg->stats seconds, a stop event when the power button is pressed, and the result line. Call after
 * stack_init(). Returns the exit status, EXIT_STATUS_USAGE when it could not be started (the reason
 * was logged). */
enum exit_status app_run(const struct config *cfg, const struct app *app);

#endif
