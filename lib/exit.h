/* The end of the guest. Declared here because lib/ needs it, defined by drivers/power.c. */
#ifndef LIB_EXIT_H
#define LIB_EXIT_H

enum exit_status {
    EXIT_STATUS_OK = 0,
    EXIT_STATUS_FAILED = 1, /* the test that was asked for did not pass */
    EXIT_STATUS_USAGE = 2,  /* bad command line, missing or unusable device */
    EXIT_STATUS_PANIC = 3,  /* a fault or a failed assertion */
};

/* Prints the exit event, with EXIT_STATUS_PANIC tells pvpanic where there is one, and ends the machine:
 * isa-debug-exit (QEMU's own status is 2*status+1), else ACPI power-off, else a reset, else it halts for
 * ever. */
_Noreturn void exit_guest(enum exit_status status);

#endif
