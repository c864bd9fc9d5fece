//! What a user would otherwise take: candle, burn, dfdx and PyTorch, each with its own tensors.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::race::Contender;

/// Bytes a parameter that SGD with momentum and Adam must move in f32.
const SGDM: usize = 20;
const ADAM: usize = 28;

/// candle-nn's SGD and AdamW over one tensor of `len`.
pub fn candle<'a>(len: usize) -> candle_core::Result<Vec<Contender<'a>>> {
    use candle_core::{Device, Tensor, Var};
    use candle_nn::{AdamW, Optimizer, ParamsAdamW, SGD};

    let device = Device::Cpu;
    // A gradient store comes only from a backward pass; the loss theta . g has the gradient g.
    let problem = || {
        let theta = Var::from_tensor(&Tensor::full(0.25f32, len, &device)?)?;
        let grads = (theta.as_tensor() * Tensor::full(0.1f32, len, &device)?)?.sum_all()?.backward()?;
        Ok::<_, candle_core::Error>((theta, grads))
    };
    let (theta, sgd_grads) = problem()?;
    let mut sgd = SGD::new(vec![theta], 1e-6)?;
    let (theta, adam_grads) = problem()?;
    let mut adam = AdamW::new(vec![theta], ParamsAdamW { lr: 1e-6, ..ParamsAdamW::default() })?;
    Ok(vec![
        Contender::new("candle SGD, no momentum", 12 * len, move || sgd.step(&sgd_grads).expect("candle steps")),
        Contender::new("candle AdamW", ADAM * len, move || adam.step(&adam_grads).expect("candle steps")),
    ])
}

/// burn's SGD with momentum and Adam over one tensor of `len`, on its own CPU backend.
pub fn burn<'a>(len: usize) -> Vec<Contender<'a>> {
    use burn::optim::momentum::MomentumConfig;
    use burn::optim::{AdamConfig, Optimizer, SgdConfig};
    use burn::tensor::{Device, Tensor};

    fn contender<'a, O: Optimizer + 'a>(name: &str, optimizer: O, bytes: usize, len: usize) -> Contender<'a> {
        let device = Device::default();
        let grad = Tensor::<1>::full([len], 0.1, &device);
        let mut state = Some((Tensor::<1>::full([len], 0.25, &device), None));
        Contender::new(name, bytes * len, move || {
            let (theta, kept) = state.take().expect("every step puts it back");
            state = Some(optimizer.step(1e-6, theta, grad.clone(), kept));
        })
    }
    let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
    let sgd = SgdConfig::new().with_momentum(Some(momentum)).build();
    vec![contender("burn SGD", sgd, SGDM, len), contender("burn Adam", AdamConfig::new().build(), ADAM, len)]
}

/// dfdx's Sgd with momentum and Adam over one tensor of `len`.
pub fn dfdx<'a>(len: usize) -> Vec<Contender<'a>> {
    use dfdx::optim::{Adam, AdamConfig, Momentum, Optimizer, Sgd, SgdConfig};
    use dfdx::prelude::*;

    let device = Cpu::default();
    device.enable_cache();
    let problem = || {
        let theta = device.sample_uniform_like(&(len,));
        let mut grads = Gradients::leaky();
        grads.get_or_alloc_mut(&theta).expect("memory for the gradient").fill(0.1);
        (theta, grads)
    };
    let (mut theta, grads) = problem();
    let config = SgdConfig { lr: 1e-6, momentum: Some(Momentum::Classic(0.9)), weight_decay: None };
    let mut sgd = Sgd::new(&theta, config);
    let sgd = Contender::new("dfdx Sgd", SGDM * len, move || sgd.update(&mut theta, &grads).expect("dfdx steps"));
    let (mut theta, grads) = problem();
    let mut adam = Adam::new(&theta, AdamConfig { lr: 1e-6, ..AdamConfig::default() });
    let adam = Contender::new("dfdx Adam", ADAM * len, move || adam.update(&mut theta, &grads).expect("dfdx steps"));
    vec![sgd, adam]
}

/// PyTorch in a process of its own, which takes its turns when told to.
pub struct Torch {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// PyTorch's version.
    pub version: String,
}

impl Torch {
    /// Starts it with so many threads, or says why there is none.
    pub fn start(threads: usize) -> Result<Torch, String> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/torch_peer.py");
        let mut child = Command::new("python3")
            .args([script, &threads.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("python3 does not start: {error}"))?;
        let orders = child.stdin.take().ok_or("python3 has no input")?;
        let answers = BufReader::new(child.stdout.take().ok_or("python3 has no output")?);
        let mut torch = Torch { child, orders, answers, version: String::new() };
        torch.version = torch.answer().map_err(|_| "python3 has no torch".to_owned())?;
        Ok(torch)
    }

    fn answer(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|error| error.to_string())?;
        if line.is_empty() { Err("PyTorch stopped".to_owned()) } else { Ok(line.trim().to_owned()) }
    }

    fn steps(&mut self, name: &str, tensors: usize, len: usize, count: usize) -> Duration {
        writeln!(self.orders, "{name} {tensors} {len} {count}").expect("PyTorch listens");
        let seconds = self.answer().expect("PyTorch answers");
        Duration::from_secs_f64(seconds.parse().expect("PyTorch answers with seconds"))
    }

    /// Its SGD with momentum and its Adam, as loops, foreach and fused, and AdaRem as a user would write it,
    /// over `tensors` tensors of `len` each.
    pub fn contenders(torch: &std::cell::RefCell<Torch>, tensors: usize, len: usize) -> Vec<Contender<'_>> {
        let kinds = [
            ("sgdm_loop", "torch SGD momentum, loop", SGDM),
            ("sgdm_foreach", "torch SGD momentum, foreach", SGDM),
            ("sgdm_fused", "torch SGD momentum, fused", SGDM),
            ("adam_loop", "torch Adam, loop", ADAM),
            ("adam_foreach", "torch Adam, foreach", ADAM),
            ("adam_fused", "torch Adam, fused", ADAM),
            ("adarem_ops", "torch AdaRem, tensor operations", SGDM),
            ("adarem_compiled", "torch AdaRem, torch.compile", SGDM),
        ];
        let contender = |(kind, name, bytes): (&'static str, &str, usize)| Contender {
            name: name.to_owned(),
            bytes: bytes * tensors * len,
            steps: Box::new(move |count| torch.borrow_mut().steps(kind, tensors, len, count)),
        };
        kinds.into_iter().map(contender).collect()
    }
}

impl Drop for Torch {
    fn drop(&mut self) {
        // It ends by itself when its input does; where it hangs, it is ended.
        let _ = writeln!(self.orders, "end 0 0 0");
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
