//! [`Report`]: what the kit found.

use core::fmt;

use adarem::Dtype;

use crate::state::Difference;
use crate::tolerance::Tolerance;

/// What the kit found out about one backend.
///
/// `Display` prints one line per check, the failed ones with the first thing to look at.
#[derive(Clone, Debug)]
pub struct Report {
    /// The device, as the kit was told its name.
    pub device: String,
    /// The number type of its tensors.
    pub dtype: Dtype,
    /// The seed; with the same one, every number of a check is the same.
    pub seed: u64,
    /// One for each check, in the order they ran.
    pub outcomes: Vec<Outcome>,
    /// Lines of the tolerance table for this device that no check needed.
    pub unneeded: Vec<Tolerance>,
}

/// What one check found out.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The check's name, such as `op div`.
    pub check: String,
    /// Numbers that were compared with the host's.
    pub numbers: u64,
    /// What came of it.
    pub verdict: Verdict,
}

/// What came of a check.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Every bit agreed, and every contract was kept.
    Agrees,
    /// Something differed, by no more than a line of the tolerance table permits.
    Within(Tolerance, Difference),
    /// Something differed; a note says where in the check.
    Differs(String, Difference),
    /// A contract was broken, or the backend gave an error.
    Broken(String),
}

impl Report {
    /// Whether every check agreed or stayed within a tolerance, and every tolerance was needed.
    pub fn passed(&self) -> bool {
        self.failures().next().is_none() && self.unneeded.is_empty()
    }

    /// The checks that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Outcome> {
        let failed = |outcome: &&Outcome| {
            matches!(outcome.verdict, Verdict::Differs(..) | Verdict::Broken(_))
        };
        self.outcomes.iter().filter(failed)
    }

    /// How many numbers were compared.
    pub fn numbers(&self) -> u64 {
        self.outcomes.iter().map(|outcome| outcome.numbers).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            device,
            dtype,
            seed,
            outcomes,
            unneeded,
        } = self;
        writeln!(f, "{device}, {dtype:?}, seed {seed:#x}")?;
        for outcome in outcomes {
            writeln!(f, "  {outcome}")?;
        }
        for line in unneeded {
            writeln!(
                f,
                "  FAILED: the tolerance of {} ULP for {} is not needed: delete its line",
                line.ulp, line.check
            )?;
        }
        let failed = self.failures().count() + unneeded.len();
        let numbers = self.numbers();
        writeln!(
            f,
            "{} checks, {numbers} numbers compared, {failed} failed",
            outcomes.len()
        )?;
        if let Some(first) = self.failures().next() {
            writeln!(
                f,
                "to see the first again: Kit::new({device:?}).seed({seed:#x}).only({:?})",
                first.check
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome {
            check,
            numbers,
            verdict,
        } = self;
        match verdict {
            Verdict::Agrees if *numbers == 0 => write!(f, "{check}: kept"),
            Verdict::Agrees => write!(f, "{check}: every bit of {numbers} numbers"),
            Verdict::Within(
                line,
                Difference {
                    place,
                    want,
                    got,
                    ulps,
                },
            ) => write!(
                f,
                "{check}: within {} ULP ({}); worst {ulps} at {place}: {got} for {want}",
                line.ulp, line.reason
            ),
            Verdict::Differs(
                note,
                Difference {
                    place,
                    want,
                    got,
                    ulps,
                },
            ) => {
                write!(f, "{check}: FAILED")?;
                write!(f, " {note}: {place} must be {want}, is {got}, ")?;
                match ulps {
                    &u64::MAX => f.write_str("one of which is NaN"),
                    ulps => write!(f, "{ulps} ULP away"),
                }
            }
            Verdict::Broken(why) => write!(f, "{check}: FAILED {why}"),
        }
    }
}
