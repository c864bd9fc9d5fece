//! What a program says of itself to whoever launches it: its kernels, their parameters, and the memory they need.

use adarem::rules::{EachRule, for_each};
use adarem::trace::trace;
use adarem::{
    AdaRem, AdaRemS, Dtype, Engine, Half, Invalid, Lane, Plan, Rule, Scope, Sgd, Tunable,
};
use adarem_cuda::ptx::{Form, Grid, Parameter, Program};

fn plan<R: Rule>(rule: &R) -> Plan {
    trace(rule, 1)
        .expect("a rule of the library fits a plan")
        .plan
}

fn launches<R: Rule>(rule: &R, form: Form) -> Vec<(String, Grid)> {
    let program = Program::new(&plan(rule), Dtype::F32, form);
    let launches = program.launches().iter();
    launches
        .map(|launch| (launch.kernel.clone(), launch.grid))
        .collect()
}

#[test]
fn a_step_launches_what_its_passes_need() {
    let (tensor, group) = (AdaRem::default(), Scope::Group);
    let group = AdaRem {
        scope: group,
        ..tensor
    };
    let is = |launches: Vec<(String, Grid)>, wanted: &[(&str, Grid)]| {
        let launches: Vec<_> = launches
            .iter()
            .map(|(name, grid)| (name.as_str(), *grid))
            .collect();
        assert_eq!(launches, wanted);
    };
    let pass = ("adarem_pass0", Grid::Chunks);
    is(launches(&tensor, Form::Fused), &[pass]);
    is(launches(&group, Form::Fused), &[pass]);
    let ends = ("adarem_pass0_tensor", Grid::Tensors);
    is(launches(&tensor, Form::Split), &[pass, ends]);
    let all = [pass, ends, ("adarem_pass0_group", Grid::One)];
    is(launches(&group, Form::Split), &all);
    let sgd = [("sgd_pass0", Grid::Chunks)];
    is(launches(&Sgd::default(), Form::Split), &sgd);
}

/// The kernels of a text by name, each with what it declares as parameters: type and name.
fn declared(text: &str) -> Vec<(&str, Vec<(&str, &str)>)> {
    let kernels = text.split(".visible .entry ").skip(1);
    kernels
        .map(|kernel| {
            let (name, rest) = kernel.split_once("(\n").expect("a list follows");
            let (list, _) = rest.split_once("\n)").expect("the list ends");
            let list = list
                .split(",\n")
                .map(|line| line.trim().strip_prefix(".param .").expect("a parameter"));
            (name, list.filter_map(|line| line.split_once(' ')).collect())
        })
        .collect()
}

struct Every;

impl EachRule for Every {
    fn rule<R: Tunable + Default>(&mut self) {
        let plan = plan(&R::default());
        for form in [Form::Fused, Form::Split] {
            for (real, program) in [
                ("f32", Program::new(&plan, Dtype::F32, form)),
                ("f64", Program::new(&plan, Dtype::F64, form)),
                ("f32", Program::mixed(&plan, Half::Bf16, form)),
                ("f32", Program::mixed(&plan, Half::F16, form)),
            ] {
                let kernels = declared(program.text());
                let names = kernels.iter().map(|(name, _)| *name);
                assert!(names.eq(program.launches().iter().map(|launch| &*launch.kernel)));
                for (kernel, list) in kernels {
                    let kinds = program
                        .parameters()
                        .iter()
                        .map(|parameter| match parameter {
                            Parameter::ChunkCount | Parameter::TensorCount => "u32",
                            Parameter::Uniform(_) => real,
                            _ => "u64",
                        });
                    assert!(
                        kinds.eq(list.iter().map(|(kind, _)| *kind)),
                        "{kernel}: {list:?}"
                    );
                }
                // What no instruction names is not declared.
                assert!(!program.text().contains("<0>"), "{}", program.text());
                assert!(!program.text().contains("pool[0]"), "{}", program.text());
            }
        }
    }
}

#[test]
fn kernels_declare_what_the_program_says_they_take() {
    for_each(&mut Every);
}

/// Computes nothing.
struct Idle;

impl Rule for Idle {
    const NAME: &'static str = "idle";
    const SLOTS: usize = 0;
    const CARRIED: usize = 0;

    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }

    fn step<E: Engine>(&self, _: u64, engine: &mut E) {
        engine.map(|x: Lane<_, 0>| x);
    }
}

#[test]
fn a_kernel_without_numbers_declares_no_registers_for_them() {
    let program = Program::new(&plan(&Idle), Dtype::F32, Form::Fused);
    assert_eq!(program.launches().len(), 1);
    assert!(program.text().contains(".reg .pred %p<"));
    assert!(!program.text().contains(".reg .f32"), "{}", program.text());
}

#[test]
fn a_program_says_how_much_is_folded_and_handed_on() {
    let needs = |program: Program| (program.folds(), program.handed());
    let of = |plan: Plan| needs(Program::new(&plan, Dtype::F32, Form::Fused));
    assert_eq!(of(plan(&Sgd::default())), (0, 0));
    assert_eq!(of(plan(&AdaRem::default())), (1, 0));
    // The largest |m| and the sum of squares; the second pass scales by one number.
    let plan = plan(&AdaRemS::default());
    let handed: usize = (0..plan.passes().len())
        .map(|pass| plan.newly_handed(pass).len())
        .sum();
    assert_eq!(of(plan), (2, handed));
    assert!(handed > 0);
}

#[test]
fn a_text_says_what_its_parts_do() {
    let rule = AdaRem {
        scope: Scope::Group,
        ..AdaRem::default()
    };
    let program = Program::new(&plan(&rule), Dtype::F32, Form::Fused);
    let lines = program.text().lines();
    let notes: Vec<_> = lines
        .filter_map(|line| line.trim().strip_prefix("// "))
        .collect();
    let wanted = [
        "which chunk of which tensor",
        "scalars",
        "a whole chunk, 16 bytes at a time",
        "lane by lane",
        "the chunk's partials",
        "the last block of the tensor goes on",
        "the end of a tensor",
        "the last tensor's block goes on",
        "the end of the group",
        "told to all threads",
        "the scalars of every tensor",
    ];
    assert_eq!(notes, wanted);
}
