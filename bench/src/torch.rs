//! PyTorch's optimizers, the mark that people know.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::race::Contender;

/// Bytes a parameter that SGD with momentum and Adam must move in f32.
const SGDM: usize = 20;
const ADAM: usize = 28;

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
        let mut torch = Torch {
            child,
            orders,
            answers,
            version: String::new(),
        };
        torch.version = torch
            .answer()
            .map_err(|_| "python3 has no torch".to_owned())?;
        Ok(torch)
    }

    fn answer(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .map_err(|error| error.to_string())?;
        if line.is_empty() {
            Err("PyTorch stopped".to_owned())
        } else {
            Ok(line.trim().to_owned())
        }
    }

    fn steps(&mut self, name: &str, tensors: usize, len: usize, count: usize) -> Duration {
        writeln!(self.orders, "{name} {tensors} {len} {count}").expect("PyTorch listens");
        let seconds = self.answer().expect("PyTorch answers");
        Duration::from_secs_f64(seconds.parse().expect("PyTorch answers with seconds"))
    }

    /// Its SGD with momentum and its Adam, as loops, foreach and fused, and AdaRem as a user would write it,
    /// over `tensors` tensors of `len` each.
    pub fn contenders(
        torch: &std::cell::RefCell<Torch>,
        tensors: usize,
        len: usize,
    ) -> Vec<Contender<'_>> {
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
