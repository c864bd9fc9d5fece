//! The tables of rules in `docs/rules.md` and in the README say what the plans and the tolerances say.
//!
//! `ADAREM_WRITE_RULES=1 cargo test -p adarem-conformance --test rules_table` writes them anew.

use std::fmt::{Debug, Write as _};
use std::path::Path;
use std::{env, fs};

use adarem::plan::{Op, Plan};
use adarem::rules::{EachRule, for_each};
use adarem::{Tunable, trace::trace};
use adarem_conformance::TABLE;
use adarem_conformance::vectors::{Case, folders, read_folder};

const BEGIN: &str = "<!-- rules -->\n";
const END: &str = "<!-- /rules -->";

/// Late enough that no rule is still starting.
const STEP: u64 = 1000;

/// What one step of a plan does to one lane.
#[derive(Default)]
struct Cost {
    /// Numbers read and written.
    numbers: usize,
    divisions: usize,
    roots: usize,
}

fn cost(plan: &Plan) -> Cost {
    let (mut cost, lanes) = (Cost::default(), plan.lanes());
    for (p, pass) in plan.passes().iter().enumerate() {
        for id in plan.lane_ops(p).iter().filter(|&id| lanes.contains(id)) {
            match plan.op(id) {
                Op::Theta(_) | Op::Grad(_) | Op::Slot(..) => cost.numbers += 1,
                Op::Div(..) => cost.divisions += 1,
                Op::Sqrt(_) => cost.roots += 1,
                _ => {}
            }
        }
        let slots = (0..plan.slots())
            .filter(|&k| pass.slot(k).is_some())
            .count();
        cost.numbers += slots + usize::from(pass.theta().is_some());
    }
    cost
}

struct Table {
    text: String,
    cases: Vec<Case>,
}

impl Table {
    /// Who computed the trajectories of `rule`, and how many each.
    fn trajectories(&self, rule: &str) -> String {
        let of_rule = self
            .cases
            .iter()
            .filter(|case| case.library_rule() == Ok(rule));
        let (torch, numpy): (Vec<_>, Vec<_>) =
            of_rule.partition(|case| case.source.to_lowercase().contains("torch.optim"));
        let part =
            |cases: Vec<&Case>, by| (!cases.is_empty()).then(|| format!("{} by {by}", cases.len()));
        let parts = [part(torch, "PyTorch"), part(numpy, "numpy")];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

impl EachRule for Table {
    fn rule<R: Tunable + Default + Clone + PartialEq + Debug + Send + 'static>(&mut self) {
        let plan = trace(&R::default(), STEP).expect("every rule traces").plan;
        let cost = cost(&plan);
        let path = std::any::type_name::<R>();
        let name = path.rsplit("::").next().unwrap_or(path);
        let exact = cost.divisions + cost.roots == 0;
        let trajectories = self.trajectories(R::NAME);
        assert!(!trajectories.is_empty(), "{name} is held to no trajectory");
        writeln!(
            self.text,
            "| `{name}` | `{}` | {} + {} | {} | {} | {}, {} | {} | {trajectories} |",
            R::NAME,
            R::SLOTS,
            R::CARRIED,
            plan.passes().len(),
            4 * cost.numbers,
            cost.divisions,
            cost.roots,
            if exact { "=" } else { "" },
        )
        .expect("a string can be written to");
    }
}

#[test]
fn the_table_of_rules_says_what_the_plans_say() {
    let own = folders().swap_remove(0);
    let mut table = Table {
        text: "| Rule | name | State | Passes | Bytes | Lane: divisions, roots | Vulkan, native | Trajectories |\n\
               |---|---|---|---|---|---|---|---|\n"
            .into(),
        cases: read_folder(&own).expect("the crate's own trajectories can be read"),
    };
    for_each(&mut table);

    stands("docs/rules.md", &table.text);
}

/// The backends, as the kit is told their names, and what the README calls them.
const BACKENDS: [(&str, &str); 5] = [
    ("interpreter", "any, by its plan"),
    ("cpu", "threads, SIMD"),
    ("cuda", "CUDA"),
    ("vulkan", "Vulkan"),
    ("dfdx", "dfdx"),
];

struct Backends {
    text: String,
}

impl EachRule for Backends {
    fn rule<R: Tunable + Default + Clone + PartialEq + Debug + Send + 'static>(&mut self) {
        let plan = trace(&R::default(), STEP).expect("a rule that has no plan runs on no device");
        let path = std::any::type_name::<R>();
        let name = path.rsplit("::").next().unwrap_or(path);
        let bytes = 4 * cost(&plan.plan).numbers;
        write!(self.text, "| `{name}` | {bytes} | = |").expect("a string can be written to");
        for (device, _) in BACKENDS {
            let check = format!("rule {}", R::NAME);
            let line = TABLE
                .iter()
                .find(|line| line.device.starts_with(device) && line.check == check);
            match line {
                None => self.text.push_str(" = |"),
                Some(line) => {
                    write!(self.text, " {} ULP |", line.ulp).expect("a string can be written to");
                }
            }
        }
        self.text.push('\n');
    }
}

#[test]
fn the_table_of_backends_says_what_the_tolerances_say() {
    let names = BACKENDS.map(|(_, name)| format!(" {name} |")).concat();
    let mut table = Backends {
        text: format!(
            "| Rule | Bytes a parameter | Host |{names}\n|---|---:|:-:|{}\n",
            ":-:|".repeat(BACKENDS.len())
        ),
    };
    for_each(&mut table);
    stands("README.md", &table.text);
}

/// Asserts that `page` of the repository has this table, or writes it there.
fn stands(page: &str, table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
    let text = fs::read_to_string(&path).expect("the page can be read");
    let (head, rest) = text
        .split_once(BEGIN)
        .expect("the page has a mark where the table begins");
    let (stands, tail) = rest
        .split_once(END)
        .expect("the page has a mark where the table ends");
    if env::var_os("ADAREM_WRITE_RULES").is_some() {
        let text = format!("{head}{BEGIN}{table}{END}{tail}");
        fs::write(&path, text).expect("the page can be written");
    } else {
        assert_eq!(stands, table, "{page} is stale");
    }
}
