//! Schedules, radius tracking, clipping and measures for adarem optimizers
