/* The example on a Cortex-M4F, as QEMU's netduinoplus2 has one: what comes before main, and semihosting. */
#include <stddef.h>
#include <stdint.h>

#include "fit.h"

extern uint32_t stack_top[], data_start[], data_end[], data_kept[], bss_start[], bss_end[];

void reset(void);
static void fault(void);

/* What the processor reads first: the stack, and where to begin. */
__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))stack_top, reset, fault, fault, fault, fault, fault,
};

static int semihost(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void leave(int failed)
{
    /* SYS_EXIT: ADP_Stopped_ApplicationExit, or ADP_Stopped_RunTimeErrorUnknown. */
    for (;;) {
        semihost(0x18, (const void *)(uintptr_t)(failed ? 0x20023 : 0x20026));
    }
}

static void fault(void)
{
    leave(1);
}

static void say(const char *line)
{
    semihost(0x04, line);
    semihost(0x04, "\n");
}

void reset(void)
{
    uint32_t *to;
    const uint32_t *from = data_kept;

    for (to = data_start; to < data_end; to++) {
        *to = *from++;
    }
    for (to = bss_start; to < bss_end; to++) {
        *to = 0;
    }
    /* CPACR: the floating-point unit is off after a reset. */
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    leave(fit(say));
}
