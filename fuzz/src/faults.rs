//! Steps, saves and restores in any order, on a backend whose calls fail at any time: an optimizer is torn
//! exactly when it must be, and what it computes in between is what an undisturbed one computes.

use adarem::{AdaRem, Error, ErrorKind, Optimizer, Phase};
use adarem_conformance::{Bytes, Call, Failing, Interpreter};

const LENGTHS: [usize; 2] = [6, 3];

/// Parameters and the optimizer's bytes at one moment.
#[derive(Clone, PartialEq, Debug)]
struct Moment {
    theta: [Vec<f32>; 2],
    state: Vec<u8>,
}

pub(crate) fn run(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let (mut inner, mut undisturbed) = (Interpreter::<f32>::default(), Interpreter::default());
    let mut backend = Failing::new(&mut inner);
    let rule = AdaRem::default();
    let mut optimizer = Optimizer::new(rule, &mut backend, &LENGTHS).expect("valid");
    let mut theta = LENGTHS.map(|len| vec![1.0; len]);
    let mut saved = Moment {
        theta: theta.clone(),
        state: save(&optimizer, &mut backend).expect("ready"),
    };

    while !bytes.are_used_up() {
        let phase = optimizer.phase();
        let call = [Call::Step, Call::Read, Call::Write, Call::Zeros][bytes.below(4)];
        match bytes.below(8) {
            // A fault to come: of the next such call, or a later one.
            0 => backend.fail_after(bytes.below(4), call, bytes.byte().is_multiple_of(2)),
            1 => match save(&optimizer, &mut backend) {
                Ok(state) => {
                    assert_eq!(phase, Phase::Ready, "what is torn was saved");
                    saved = Moment {
                        theta: theta.clone(),
                        state,
                    };
                }
                Err(ErrorKind::Torn) => assert_eq!(phase, Phase::Torn),
                Err(error) => assert_eq!(error, ErrorKind::DeviceLost),
            },
            2 => match optimizer
                .restore(&mut backend, &saved.state)
                .map_err(|e| e.kind())
            {
                Ok(()) => {
                    theta = saved.theta.clone();
                    assert_eq!(optimizer.phase(), Phase::Ready);
                }
                Err(error) => {
                    assert_eq!(error, ErrorKind::DeviceLost);
                    assert_eq!(
                        optimizer.phase(),
                        Phase::Torn,
                        "half a restored state is called ready"
                    );
                }
            },
            3 => {
                // Refused, in whatever phase, and without a trace.
                let before = optimizer.phase();
                let refused = step(
                    &mut optimizer,
                    &mut backend,
                    &mut [vec![1.0; 6], vec![]],
                    0.5,
                );
                assert!(
                    matches!(refused, Err(ErrorKind::Length(_) | ErrorKind::Torn)),
                    "{refused:?}"
                );
                assert_eq!(optimizer.phase(), before);
            }
            _ => {
                let scale: f32 = bytes.number();
                let before = (optimizer.steps(), theta.clone());
                match step(&mut optimizer, &mut backend, &mut theta, scale) {
                    Ok(()) => {
                        assert_eq!(phase, Phase::Ready, "what is torn stepped");
                        assert_eq!(optimizer.steps(), before.0 + 1);
                    }
                    Err(ErrorKind::Torn) => {
                        assert_eq!(phase, Phase::Torn);
                        assert_eq!(bits(&theta), bits(&before.1), "a refused step wrote");
                    }
                    Err(error) => {
                        assert_eq!(error, ErrorKind::DeviceLost);
                        assert_eq!(
                            optimizer.phase(),
                            Phase::Torn,
                            "half a step is called ready"
                        );
                    }
                }
            }
        }
    }

    // Whatever came to pass: the last checkpoint leads back, to the bits of one that was never disturbed.
    let mut calm = Optimizer::new(rule, &mut undisturbed, &LENGTHS).expect("valid");
    calm.restore(&mut undisturbed, &saved.state)
        .expect("a checkpoint of the same optimizer");
    let mut expected = saved.theta.clone();
    let [a, b] = &mut expected;
    let stepped = calm.step(&mut undisturbed, &mut [a, b], &[&[0.25; 6], &[0.25; 3]]);
    stepped.expect("the interpreter never fails");

    // At most one fault is still to come: the second try of each is not disturbed.
    let restored = (0..2).any(|_| optimizer.restore(&mut backend, &saved.state).is_ok());
    assert!(restored, "a checkpoint that was saved is refused");
    theta = saved.theta.clone();
    if step(&mut optimizer, &mut backend, &mut theta, 0.25).is_err() {
        let restored = (0..2).any(|_| optimizer.restore(&mut backend, &saved.state).is_ok());
        assert!(restored, "a checkpoint that was saved is refused");
        theta = saved.theta;
        step(&mut optimizer, &mut backend, &mut theta, 0.25).expect("no fault is left");
    }
    assert_eq!(
        bits(&theta),
        bits(&expected),
        "a disturbed optimizer steps otherwise"
    );
}

fn bits(theta: &[Vec<f32>; 2]) -> Vec<u32> {
    // NaN equals NaN.
    let bits = |x: &f32| if x.is_nan() { u32::MAX } else { x.to_bits() };
    theta.iter().flatten().map(bits).collect()
}

fn save<'b>(
    optimizer: &Optimizer<AdaRem, Failing<'b, Interpreter<f32>>>,
    backend: &mut Failing<'b, Interpreter<f32>>,
) -> Result<Vec<u8>, ErrorKind> {
    let mut bytes = Vec::new();
    optimizer.save(backend, |piece| bytes.extend_from_slice(piece))?;
    Ok(bytes)
}

fn step<'b>(
    optimizer: &mut Optimizer<AdaRem, Failing<'b, Interpreter<f32>>>,
    backend: &mut Failing<'b, Interpreter<f32>>,
    theta: &mut [Vec<f32>; 2],
    gradient: f32,
) -> Result<(), ErrorKind> {
    let grad = [
        vec![gradient; theta[0].len()],
        vec![gradient; theta[1].len()],
    ];
    let [a, b] = theta;
    optimizer.step(backend, &mut [a, b], &[&grad[0], &grad[1]])
}
