/* The example on a computer. */
#include <stdio.h>

#include "fit.h"

static void say(const char *line)
{
    puts(line);
}

int main(void)
{
    return fit(say);
}
