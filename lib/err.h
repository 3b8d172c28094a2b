/* Errors of initialisation. Functions return 0 or one of these; bursts return counts instead. */
#ifndef LIB_ERR_H
#define LIB_ERR_H

enum err {
    ERR_OK = 0,
    ERR_RESOURCE = -1, /* not enough memory or slots */
    ERR_CONFIG = -2,   /* what the user asked for cannot be done: exit status 2 */
    ERR_DEVICE = -3,   /* the device broke the protocol or refused */
    ERR_ABSENT = -4,   /* the device, queue or capability does not exist */
    ERR_TIMEOUT = -5,  /* the device did not answer in time */
};

#endif
