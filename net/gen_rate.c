#include "net/gen_rate.h"

#include "lib/log.h"
#include "net/gen_text.h"

#define LINERATE_DEFAULT UINT64_C(10000000000)

static bool gen_rate_parse_line(struct gen_rate *rate, const char *value, uint32_t speed_mbps) {
    const char *text = value;
    uint64_t number, divisor;
    if (value[0] == '\0') {
        rate->linerate_bps = speed_mbps != 0 ? speed_mbps * UINT64_C(1000000) : LINERATE_DEFAULT;
        return true;
    }
    if (gen_text_fraction(&text, &number, &divisor) && *text == '\0') {
        rate->linerate_bps = number / divisor;
        if (rate->linerate_bps >= GEN_BPS_MIN && rate->linerate_bps <= GEN_BPS_MAX) {
            return true;
        }
    }
    log_error("config: linerate=%s: must be bits per second such as 1000M or 10G, from 1k to "
              "10000G", value);
    return false;
}

/* Takes the unit, and turns a share of the line rate into bits per second. */
static bool gen_rate_unit(struct gen_rate *rate, const char **text, uint64_t number,
                          uint64_t divisor) {
    if (gen_text_word(text, "pps")) {
        rate->kind = GEN_RATE_PPS;
        rate->per_second = number / divisor;
        return rate->per_second >= 1 && rate->per_second <= GEN_PPS_MAX;
    }
    if (gen_text_word(text, "%")) {
        rate->kind = GEN_RATE_L1;
        if (number > 100 * divisor) {
            return false;
        }
        /* At most 10^13 * 100 * 10^6 together, so in two steps. */
        const uint64_t per_unit = rate->linerate_bps / (100 * divisor);
        const uint64_t rest = rate->linerate_bps % (100 * divisor);
        rate->per_second = per_unit * number + rest * number / (100 * divisor);
    } else if (gen_text_word(text, "bps")) {
        rate->kind = GEN_RATE_BPS;
        rate->per_second = number / divisor;
    } else {
        return false;
    }
    return rate->per_second >= GEN_BPS_MIN && rate->per_second <= GEN_BPS_MAX;
}

static bool gen_rate_parse_rate(struct gen_rate *rate, const char *value) {
    const char *text = value;
    uint64_t number, divisor;
    rate->kind = GEN_RATE_MAX;
    if (gen_text_word(&text, "max") && *text == '\0') {
        return true;
    }
    text = value;
    if (gen_text_fraction(&text, &number, &divisor) &&
        gen_rate_unit(rate, &text, number, divisor) && *text == '\0') {
        return true;
    }
    log_error("config: rate=%s: must be max, 1pps to 1000Mpps, 1kbps to 10000Gbps, or a share of "
              "linerate= up to 100%%", value);
    return false;
}

static bool gen_rate_parse_pace(struct gen_rate *rate, const char *value) {
    const char *text = value;
    uint64_t bunch = 1;
    bool good = true;
    rate->poisson = gen_text_word(&text, "poisson");
    if (!rate->poisson && !gen_text_word(&text, "cbr")) {
        good = gen_text_word(&text, "burst:") && gen_text_number(&text, GEN_BUNCH_MAX, &bunch) &&
               bunch > 0;
    }
    rate->bunch = (uint32_t)bunch;
    if (!good || *text != '\0') {
        log_error("config: pace=%s: must be cbr, poisson or burst:N with N from 1 to %u", value,
                  GEN_BUNCH_MAX);
        return false;
    }
    return true;
}

bool gen_rate_parse(struct gen_rate *rate, const struct config *cfg, uint32_t speed_mbps) {
    *rate = (struct gen_rate){.kind = GEN_RATE_MAX};
    return gen_rate_parse_line(rate, cfg->linerate, speed_mbps) &&
           gen_rate_parse_rate(rate, cfg->rate) && gen_rate_parse_pace(rate, cfg->pace);
}
