use serde_json::{Value, json as object};

use crate::train::{Race, Run};

/// The runs as an array of objects, for other programs. A number that is not finite is `null`.
///
/// Each object has `optimizer`, `task`, `seed`, `lr`, `train_loss`, `test_loss`, `test_accuracy` (0 to
/// 1), `q_ratio`, `q_mean`, `q_median`, `seconds`, `seconds_per_step`, `state_bytes`, `theta_crc32` (the
/// same for the same bits in all parameters) and `epochs`, an array with the course of the losses, the
/// accuracy and Q.
///
/// # Errors
/// If a run's meter was damaged.
pub fn json(race: &Race) -> anyhow::Result<Value> {
    race.finished.iter().map(|run| of(race, run)).collect()
}

fn of(race: &Race, run: &Run) -> anyhow::Result<Value> {
    let last = run.epochs.last();
    let q = run.meter.q()?;
    let epochs = run.epochs.iter().map(|epoch| {
        object!({
            "train_loss": epoch.train_loss,
            "test_loss": epoch.test_loss,
            "test_accuracy": epoch.test_accuracy,
            "q_ratio": epoch.q,
        })
    });
    Ok(object!({
        "optimizer": run.method.to_string(),
        "task": race.settings.task,
        "seed": race.settings.seed,
        "lr": run.lr,
        "train_loss": last.map(|epoch| epoch.train_loss),
        "test_loss": last.map(|epoch| epoch.test_loss),
        "test_accuracy": last.map(|epoch| epoch.test_accuracy),
        "q_ratio": q.ratio,
        "q_mean": q.mean,
        "q_median": q.median,
        "seconds": run.time.as_secs_f64(),
        "seconds_per_step": run.step_time().as_secs_f64(),
        "state_bytes": run.state_bytes,
        "theta_crc32": format!("{:08x}", theta_checksum(run)),
        "epochs": epochs.collect::<Value>(),
    }))
}

fn theta_checksum(run: &Run) -> u32 {
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    let mut digest = crc.digest();
    for x in run.theta.iter().flatten() {
        digest.update(&x.to_bits().to_le_bytes());
    }
    digest.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_has_its_numbers() {
        let race = crate::train::race::finished_brief();
        let value = json(&race).unwrap();
        let runs = value.as_array().unwrap();
        assert_eq!(runs.len(), 2);
        assert_eq!(runs[0]["optimizer"], "adarem");
        for run in runs {
            for number in ["train_loss", "test_accuracy", "q_ratio", "seconds"] {
                assert!(
                    run[number].as_f64().is_some_and(|x| x > 0.0),
                    "{number} in {run}"
                );
            }
            assert_eq!(run["epochs"].as_array().unwrap().len(), 2);
        }
    }
}
