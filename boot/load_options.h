/* The command line in the load options of a UEFI image: plain text work, without firmware. */
#ifndef BOOT_LOAD_OPTIONS_H
#define BOOT_LOAD_OPTIONS_H

#include "lib/util.h"

/* Writes the command line that `size` bytes of load options hold (UEFI 2.10, 9.1: UCS-2 here, since the
 * UEFI shell and boot managers write that) to text, with a zero. It ends at the first zero or with the last
 * whole character. The first word, in quotes or not, is left out when there is no `=` in it: the shell puts
 * the image's name there. A character outside of ASCII becomes a `?`. Returns false when text_size, at least
 * 1, is too small; text holds the beginning then. */
bool load_options_text(const void *options, size_t size, char *text, size_t text_size);

#endif
