#include "lib/wait.h"

struct wait_state wait_state;
