/* Optimizers by name, on memory that the caller gives: see the README beside this file's folder.
 *
 * No function allocates, prints, locks or starts a thread. Different optimizers may be used by different
 * threads at the same time. `error` may be null in every call; what it says of a call is overwritten by the
 * next.
 *
 * Made by cbindgen from adarem-capi; do not edit. SPDX-License-Identifier: MIT OR Apache-2.0 */


#ifndef ADAREM_H
#define ADAREM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * Tensors of `float`.
 */
#define ADAREM_DTYPE_F32 4

/**
 * Tensors of `double`.
 */
#define ADAREM_DTYPE_F64 8

/**
 * Bytes of an error's text, with the NUL at its end.
 */
#define ADAREM_ERROR_TEXT 160

/**
 * What the address of an optimizer's memory must be a multiple of.
 */
#define ADAREM_ALIGNMENT 16

/**
 * Schedules that one optimizer may have.
 */
#define ADAREM_MOST_SCHEDULES 4

/**
 * `from`, in every step.
 */
#define ADAREM_SCHEDULE_CONSTANT 0

/**
 * A straight line from `from` to `to` in `steps`.
 */
#define ADAREM_SCHEDULE_LINEAR 1

/**
 * Half a cosine from `from` to `to` in `steps`.
 */
#define ADAREM_SCHEDULE_COSINE 2

/**
 * `to + (from - to) (1 - t / steps)^factor`, then `to`.
 */
#define ADAREM_SCHEDULE_POLYNOMIAL 3

/**
 * `from * factor^t`.
 */
#define ADAREM_SCHEDULE_EXPONENTIAL 4

/**
 * `from * factor^floor(t / steps)`.
 */
#define ADAREM_SCHEDULE_STEPS 5

/**
 * `from / sqrt(t + 1)`.
 */
#define ADAREM_SCHEDULE_INVERSE_SQRT 6

/**
 * What came of a call.
 */
enum AdaremStatus
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Done.
   */
  ADAREM_STATUS_OK = 0,
  /**
   * A pointer is null that must not be.
   */
  ADAREM_STATUS_NULL = 1,
  /**
   * A pointer is not aligned for what it points to.
   */
  ADAREM_STATUS_MISALIGNED = 2,
  /**
   * Two pieces of memory overlap that must not.
   */
  ADAREM_STATUS_OVERLAP = 3,
  /**
   * A length or a count is too large for any memory.
   */
  ADAREM_STATUS_TOO_LONG = 4,
  /**
   * The memory given is too small.
   */
  ADAREM_STATUS_TOO_SMALL = 5,
  /**
   * The pointer is not an optimizer of `adarem_create`, or was moved or copied from where it was created.
   */
  ADAREM_STATUS_NOT_AN_OPTIMIZER = 6,
  /**
   * There is no rule of this name.
   */
  ADAREM_STATUS_UNKNOWN_RULE = 7,
  /**
   * The rule has no setting of this name.
   */
  ADAREM_STATUS_UNKNOWN_SETTING = 8,
  /**
   * A setting, or a schedule, is out of its range.
   */
  ADAREM_STATUS_INVALID = 9,
  /**
   * The optimizer steps tensors of another number type.
   */
  ADAREM_STATUS_WRONG_DTYPE = 10,
  /**
   * Bytes are not a checkpoint of this optimizer.
   */
  ADAREM_STATUS_CHECKPOINT = 11,
  /**
   * An earlier step failed half-way: restore a checkpoint.
   */
  ADAREM_STATUS_TORN = 12,
  /**
   * Something that cannot happen.
   */
  ADAREM_STATUS_INTERNAL = 13,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum AdaremStatus AdaremStatus;
#else
typedef uint32_t AdaremStatus;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * An optimizer, in memory that the caller gave to `adarem_create`.
 */
typedef struct AdaremOptimizer AdaremOptimizer;

/**
 * A setting by name, such as `{"lr", 0.1}`.
 */
typedef struct AdaremNamedValue {
  /**
   * The name of a hyper-parameter: `adarem_setting_name` lists those of a rule.
   */
  const char *name;
  /**
   * Its value. A flag is 0 or 1; a scope is 0 for each tensor, 1 for all tensors of the optimizer; NaN
   * leaves out what may be left out.
   */
  double value;
} AdaremNamedValue;

/**
 * What an optimizer is: a rule, its settings, and the tensors that it steps. One optimizer is one parameter
 * group; use one for each group.
 */
typedef struct AdaremConfig {
  /**
   * The rule's name, such as "adarem": `adarem_rule_name` lists them.
   */
  const char *rule;
  /**
   * ADAREM_DTYPE_F32 or ADAREM_DTYPE_F64.
   */
  uint32_t dtype;
  /**
   * Settings that differ from the rule's defaults; may be null where there are none.
   */
  const struct AdaremNamedValue *settings;
  /**
   * How many.
   */
  size_t settings_count;
  /**
   * The length of each tensor, in numbers; read by `adarem_size` and `adarem_create` only.
   */
  const size_t *lengths;
  /**
   * How many tensors.
   */
  size_t tensors;
} AdaremConfig;

/**
 * A status, and its text for people.
 */
typedef struct AdaremError {
  /**
   * What came of the call.
   */
  AdaremStatus status;
  /**
   * Words, with names and values; ends with a NUL. Empty after a call that was done.
   */
  char text[ADAREM_ERROR_TEXT];
} AdaremError;

/**
 * A setting as a function of the step t, counted from 0. Fields that a kind does not name are not read.
 */
typedef struct AdaremSchedule {
  /**
   * One of ADAREM_SCHEDULE_...
   */
  uint32_t kind;
  /**
   * The value in step 0.
   */
  double from;
  /**
   * The value at the end.
   */
  double to;
  /**
   * How many steps it takes, at least 1; for ADAREM_SCHEDULE_STEPS, the steps between falls.
   */
  uint64_t steps;
  /**
   * What is multiplied by, or the power; positive.
   */
  double factor;
  /**
   * Steps of a linear warm-up before the schedule begins; 0 for none.
   */
  uint64_t warmup;
} AdaremSchedule;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Copies the name of rule number `index`, in the order of the alphabet, into `name`, with a NUL; false where
 * there is no such rule, or the name does not fit.
 *
 * # Safety
 * `name` is null or has room for `capacity` bytes.
 */
bool adarem_rule_name(size_t index,
                      char *name,
                      size_t capacity);

/**
 * Copies the name of setting number `index` of a rule into `name`, with a NUL, and its default into
 * `value`; false where there is no such rule or setting, or the name does not fit.
 *
 * # Safety
 * `rule` is null or a C string; `name` is null or has room for `capacity` bytes; `value` is null or may be
 * written.
 */
bool adarem_setting_name(const char *rule,
                         size_t index,
                         char *name,
                         size_t capacity,
                         double *value);

/**
 * How many bytes of memory `adarem_create` needs for this configuration.
 *
 * # Safety
 * As for `adarem_create`; `bytes` is null or may be written.
 */
AdaremStatus adarem_size(const struct AdaremConfig *config,
                         size_t *bytes,
                         struct AdaremError *error);

/**
 * Creates an optimizer at step 0 in `memory`, of which it needs as many bytes as `adarem_size` says, at an
 * address that is a multiple of ADAREM_ALIGNMENT.
 *
 * The optimizer lies in that memory: do not move or change it while the optimizer is used. There is nothing
 * to destroy; the memory may be used for something else when the optimizer is not needed any more. What `config`
 * points to is not needed after the call.
 *
 * # Safety
 * Pointers in `config` are null or point to what they say, strings end with a NUL; `memory` has `bytes`
 * bytes that nothing else uses; `optimizer` and `error` are null or may be written.
 */
AdaremStatus adarem_create(const struct AdaremConfig *config,
                           void *memory,
                           size_t bytes,
                           struct AdaremOptimizer **optimizer,
                           struct AdaremError *error);

/**
 * One step of an optimizer for `float`: rewrites every `theta[i]` by `grad[i]`, whose lengths `adarem_create`
 * was told. A pointer of an empty tensor is not looked at.
 *
 * Refused where a pointer is null or misaligned, where a parameter overlaps the optimizer's memory, its
 * gradient or, as far as it is seen, another tensor: all pairs of up to 32 tensors are compared, of more only
 * neighbours. A refused step changes nothing.
 *
 * # Safety
 * `optimizer` is null or of `adarem_create`, and used by no other thread; both lists hold a pointer for each
 * tensor, to as many numbers as its length says, which nothing else uses during the call; `error` is null or may be
 * written.
 */
AdaremStatus adarem_step_f32(struct AdaremOptimizer *optimizer,
                             float *const *theta,
                             const float *const *grad,
                             struct AdaremError *error);

/**
 * As `adarem_step_f32`, for `double`.
 *
 * # Safety
 * As `adarem_step_f32`.
 */
AdaremStatus adarem_step_f64(struct AdaremOptimizer *optimizer,
                             double *const *theta,
                             const double *const *grad,
                             struct AdaremError *error);

/**
 * How many steps were taken; the next one is this, counted from 0.
 *
 * # Safety
 * `optimizer` is null or of `adarem_create`; `steps` and `error` are null or may be written.
 */
AdaremStatus adarem_steps(const struct AdaremOptimizer *optimizer,
                          uint64_t *steps,
                          struct AdaremError *error);

/**
 * Sets a hyper-parameter by name, for the steps to come. One that is out of its range is refused.
 *
 * # Safety
 * `optimizer` is null or of `adarem_create`, and used by no other thread; `name` is null or a C string;
 * `error` is null or may be written.
 */
AdaremStatus adarem_set(struct AdaremOptimizer *optimizer,
                        const char *name,
                        double value,
                        struct AdaremError *error);

/**
 * Reads a hyper-parameter by name. One that has a schedule is as the last step left it.
 *
 * # Safety
 * `optimizer` is null or of `adarem_create`, and used by no other thread; `name` is null or a C string;
 * `value` and `error` are null or may be written.
 */
AdaremStatus adarem_get(const struct AdaremOptimizer *optimizer,
                        const char *name,
                        double *value,
                        struct AdaremError *error);

/**
 * Lets a schedule set a hyper-parameter in each step; null ends it, and the last value stays. A schedule is
 * a pure function of the step: it is not part of a checkpoint, so set it again after `adarem_create`.
 *
 * # Safety
 * `optimizer` is null or of `adarem_create`, and used by no other thread; `name` is null or a C string;
 * `schedule` is null or points to one; `error` is null or may be written.
 */
AdaremStatus adarem_schedule(struct AdaremOptimizer *optimizer,
                             const char *name,
                             const struct AdaremSchedule *schedule,
                             struct AdaremError *error);

/**
 * How many bytes `adarem_save` writes.
 *
 * # Safety
 * `optimizer` is null or of `adarem_create`, and used by no other thread; `bytes` and `error` are null or
 * may be written.
 */
AdaremStatus adarem_saved_size(struct AdaremOptimizer *optimizer,
                               size_t *bytes,
                               struct AdaremError *error);

/**
 * Writes the optimizer's state, without hyper-parameters and parameters, to `bytes`: a checkpoint, which
 * every optimizer of the same rule and tensors can restore, on any machine.
 *
 * # Safety
 * `optimizer` is null or of `adarem_create`, and used by no other thread; `bytes` is null or has room for
 * `capacity` bytes; `error` is null or may be written.
 */
AdaremStatus adarem_save(struct AdaremOptimizer *optimizer,
                         uint8_t *bytes,
                         size_t capacity,
                         struct AdaremError *error);

/**
 * Restores what `adarem_save` wrote. Bytes that are damaged, or of another optimizer, are refused, and
 * nothing is changed. The parameters of the same moment are the caller's to restore.
 *
 * # Safety
 * `optimizer` is null or of `adarem_create`, and used by no other thread; `bytes` is null or has `count`
 * bytes; `error` is null or may be written.
 */
AdaremStatus adarem_restore(struct AdaremOptimizer *optimizer,
                            const uint8_t *bytes,
                            size_t count,
                            struct AdaremError *error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ADAREM_H */
