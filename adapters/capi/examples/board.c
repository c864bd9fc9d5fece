/* The example on a Cortex-M4F, as QEMU's netduinoplus2 has one: what comes before main, and semihosting. */
#include <stddef.h>
#include <stdint.h>

#include "fit.h"

extern uint32_t stack_top[], data_start[], data_end[], data_kept[], bss_start[], bss_end[];

void reset(void);
static void fault(void);

/* What the processor reads first: the stack, where to begin, and where to go when something fails. */
static const struct {
    uint32_t *stack;
    void (*reset)(void);
    void (*exceptions[14])(void);
} vectors __attribute__((section(".vectors"), used)) = {
    stack_top, reset, {fault, fault, fault, fault, fault},
};

/* What the host is asked for, by the numbers of Arm's specification. */
enum { SYS_OPEN = 0x01, SYS_WRITE = 0x05, SYS_EXIT = 0x18 };

static int semihost(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void leave(int failed)
{
    /* ADP_Stopped_RunTimeErrorUnknown, or ADP_Stopped_ApplicationExit. */
    for (;;) {
        semihost(SYS_EXIT, (const void *)(uintptr_t)(failed ? 0x20023 : 0x20026));
    }
}

static void fault(void)
{
    leave(1);
}

/* The host's standard output, once `reset` has opened it. */
static int output;

static void write_out(const char *text, uintptr_t length)
{
    const uintptr_t arguments[3] = {(uintptr_t)output, (uintptr_t)text, length};

    semihost(SYS_WRITE, arguments);
}

static void say(const char *line)
{
    uintptr_t length = 0;

    while (line[length] != '\0') {
        length++;
    }
    write_out(line, length);
    write_out("\n", 1);
}

void reset(void)
{
    uint32_t *to;
    const uint32_t *from = data_kept;
    static const char terminal[] = ":tt";
    const uintptr_t to_write[3] = {(uintptr_t)terminal, 4, sizeof terminal - 1};

    for (to = data_start; to < data_end; to++) {
        *to = *from++;
    }
    for (to = bss_start; to < bss_end; to++) {
        *to = 0;
    }
    /* CPACR: the floating-point unit is off after a reset. */
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    output = semihost(SYS_OPEN, to_write);
    leave(fit(say));
}
