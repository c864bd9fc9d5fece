/* Fits y = x^3 - 2 x + 1/2 by three weights and a bias, each in a parameter group of its own.
 *
 * The weights step by AdaRem, whose learning rate follows a cosine; the bias by SGD with momentum. Half-way the weights'
 * optimizer is saved, and goes on from the bytes in other memory. Nothing of the C library is used, so
 * that it runs on a microcontroller, too, where it ends on the same bits. */
#include "fit.h"

#include <stdalign.h>

#include "adarem.h"

enum { POINTS = 24, STEPS = 600, MEMORY = 4096, BYTES = 1024 };

static alignas(ADAREM_ALIGNMENT) unsigned char memory[3][MEMORY];
static unsigned char bytes[BYTES];

static void (*print)(const char *line);

/* Prints the error of a call that was refused; whether there was one. */
static int failed(AdaremStatus status, const AdaremError *error)
{
    if (status == ADAREM_STATUS_OK) {
        return 0;
    }
    print(error->text);
    return 1;
}

/* Creates an optimizer of one tensor of `length` numbers; null where it fails. */
static AdaremOptimizer *create(const char *rule, double lr, size_t length, unsigned char *where)
{
    AdaremError error;
    AdaremOptimizer *optimizer = NULL;
    size_t needed = 0;
    const AdaremNamedValue settings[] = {{"lr", lr}};
    const AdaremConfig config = {rule, ADAREM_DTYPE_F32, settings, 1, &length, 1};

    if (failed(adarem_size(&config, &needed, &error), &error) ||
        failed(adarem_create(&config, where, MEMORY, &optimizer, &error), &error)) {
        return NULL;
    }
    return optimizer;
}

/* Half the mean squared error, and its gradient. */
static float loss(const float *weights, float bias, float *grad_weights, float *grad_bias)
{
    float sum = 0.0f;
    int point, k;

    for (k = 0; k < 3; k++) {
        grad_weights[k] = 0.0f;
    }
    *grad_bias = 0.0f;
    for (point = 0; point < POINTS; point++) {
        const float x = (float)(2 * point - POINTS + 1) / (float)POINTS;
        const float power[3] = {x, x * x, x * x * x};
        const float wanted = power[2] - 2.0f * x + 0.5f;
        float error = bias - wanted;
        for (k = 0; k < 3; k++) {
            error += weights[k] * power[k];
        }
        sum += 0.5f * error * error / (float)POINTS;
        for (k = 0; k < 3; k++) {
            grad_weights[k] += error * power[k] / (float)POINTS;
        }
        *grad_bias += error / (float)POINTS;
    }
    return sum;
}

/* Saves an optimizer and goes on from the bytes in other memory. */
static AdaremOptimizer *move_to(AdaremOptimizer *optimizer, unsigned char *where)
{
    AdaremError error;
    size_t count = 0;
    AdaremOptimizer *moved = create("adarem", 0.5, 3, where);

    if (moved == NULL || failed(adarem_saved_size(optimizer, &count, &error), &error) ||
        failed(adarem_save(optimizer, bytes, BYTES, &error), &error) ||
        failed(adarem_restore(moved, bytes, count, &error), &error)) {
        return NULL;
    }
    return moved;
}

/* Prints a number by its bits. */
static void say_bits(const char *name, float x)
{
    static const char digits[] = "0123456789abcdef";
    const union { float number; uint32_t bits; } as = {x};
    char line[40];
    size_t at = 0;
    int shift;

    while (*name != '\0' && at < 20) {
        line[at++] = *name++;
    }
    line[at++] = ' ';
    for (shift = 28; shift >= 0; shift -= 4) {
        line[at++] = digits[(as.bits >> shift) & 15];
    }
    line[at] = '\0';
    print(line);
}

int fit(void (*say)(const char *line))
{
    float weights[3] = {0.0f, 0.0f, 0.0f}, bias = 0.0f;
    float grad_weights[3], grad_bias, before, after;
    float *const theta[2] = {weights, &bias};
    const float *const grad[2] = {grad_weights, &grad_bias};
    const AdaremSchedule cosine = {ADAREM_SCHEDULE_COSINE, 0.5, 0.01, STEPS, 0.0, 20};
    AdaremOptimizer *of_weights, *of_bias;
    AdaremError error;
    int t;

    print = say;
    of_weights = create("adarem", 0.5, 3, memory[0]);
    of_bias = create("sgdm", 0.05, 1, memory[1]);
    if (of_weights == NULL || of_bias == NULL ||
        failed(adarem_schedule(of_weights, "lr", &cosine, &error), &error)) {
        return 1;
    }
    before = loss(weights, bias, grad_weights, &grad_bias);
    for (t = 0; t < STEPS; t++) {
        loss(weights, bias, grad_weights, &grad_bias);
        if (failed(adarem_step_f32(of_weights, &theta[0], &grad[0], &error), &error) ||
            failed(adarem_step_f32(of_bias, &theta[1], &grad[1], &error), &error)) {
            return 1;
        }
        if (t == STEPS / 2) {
            of_weights = move_to(of_weights, memory[2]);
            if (of_weights == NULL ||
                failed(adarem_schedule(of_weights, "lr", &cosine, &error), &error)) {
                return 1;
            }
        }
    }
    after = loss(weights, bias, grad_weights, &grad_bias);
    say_bits("loss before", before);
    say_bits("loss after", after);
    say_bits("weight of x", weights[0]);
    say_bits("bias", bias);

    /* A setting out of its range is refused, with words. */
    if (adarem_set(of_weights, "beta", 1.0, &error) != ADAREM_STATUS_INVALID) {
        return 1;
    }
    print(error.text);
    print(after < before / 100.0f ? "learned" : "did not learn");
    return after < before / 100.0f ? 0 : 1;
}
