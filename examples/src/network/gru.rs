use super::matrix::{add_transposed_product, product, product_transposed};
use super::{Parameter, Role};

/// A gated recurrent unit (Cho et al. 2014) that reads symbols, one at a time.
///
/// With `x` the row of `W` that belongs to the symbol, `h` the state before it, and `u = h U`, each in
/// three parts of the state's length (z, r, n):
///
/// ```text
/// z = sigmoid(x_z + u_z)          how much of the old state stays
/// r = sigmoid(x_r + u_r)          how much of it the proposal sees
/// n = tanh(x_n + r u_n)           the proposal
/// h <- (1 - z) n + z h
/// ```
///
/// There is no bias: each symbol's own row of `W` can hold it. The state starts at zero.
#[derive(Clone, Debug)]
pub struct Gru {
    from_symbol: Parameter,
    from_state: Parameter,
    width: usize,
    rows: usize,
    symbols: Vec<usize>,
    /// The state before the first symbol, and after each; `steps + 1` blocks of `rows x width`.
    states: Vec<f32>,
    /// `u` of each step: `steps` blocks of `rows x 3 width`.
    u: Vec<f32>,
    /// `z, r, n` of each step, laid out as `u`.
    gates: Vec<f32>,
}

impl Gru {
    /// A unit that knows `symbols` symbols and has a state of `width` numbers.
    pub fn new(symbols: usize, width: usize, rng: &mut fastrand::Rng) -> Self {
        let bound = 1.0 / (width as f32).sqrt();
        let mut uniform = |name: &str, rows: usize| {
            Parameter::uniform(name, Role::Weight, rows * 3 * width, bound, rng)
        };
        Self {
            from_symbol: uniform("gru.from_symbol", symbols),
            from_state: uniform("gru.from_state", width),
            width,
            rows: 0,
            symbols: Vec::new(),
            states: Vec::new(),
            u: Vec::new(),
            gates: Vec::new(),
        }
    }

    /// Reads `rows` texts side by side, `symbols[step * rows + row]`, and gives the state after each
    /// symbol: as many blocks of `rows x width` as there are steps.
    pub fn forward(&mut self, symbols: &[usize], rows: usize) -> &[f32] {
        let (state, wide) = (rows * self.width, 3 * self.width);
        let steps = symbols.len() / rows;
        self.rows = rows;
        self.symbols.clear();
        self.symbols.extend_from_slice(symbols);
        self.states.clear();
        self.states.resize((steps + 1) * state, 0.0);
        self.u.resize(symbols.len() * wide, 0.0);
        self.gates.resize(symbols.len() * wide, 0.0);
        for step in 0..steps {
            let (before, after) = self.states.split_at_mut((step + 1) * state);
            let before = &before[step * state..];
            let block = step * rows * wide..(step + 1) * rows * wide;
            let (u, gates) = (&mut self.u[block.clone()], &mut self.gates[block]);
            product(u, before, &self.from_state.theta, self.width, wide);
            let symbols = &symbols[step * rows..];
            for row in 0..rows {
                let x = &self.from_symbol.theta[symbols[row] * wide..][..wide];
                let u = &u[row * wide..][..wide];
                let gates = &mut gates[row * wide..][..wide];
                for k in 0..self.width {
                    let [z, r, n] = [k, self.width + k, 2 * self.width + k];
                    gates[z] = sigmoid(x[z] + u[z]);
                    gates[r] = sigmoid(x[r] + u[r]);
                    gates[n] = libm::tanhf(x[n] + gates[r] * u[n]);
                    let at = row * self.width + k;
                    after[at] = (1.0 - gates[z]) * gates[n] + gates[z] * before[at];
                }
            }
        }
        &self.states[state..]
    }

    /// Goes back through time: given the gradient with respect to all states that
    /// [`forward`](Gru::forward) gave, sets the gradients of the parameters.
    pub fn backward(&mut self, states_grad: &[f32]) {
        let (rows, width) = (self.rows, self.width);
        let (state, wide) = (rows * width, 3 * width);
        self.from_symbol.grad.fill(0.0);
        self.from_state.grad.fill(0.0);
        // The gradient with respect to the state that a step leaves: what the later steps make of
        // it, and what it costs itself.
        let mut state_grad = vec![0.0; state];
        let mut u_grad = vec![0.0; rows * wide];
        let mut through_u = vec![0.0; state];
        for step in (0..self.symbols.len() / rows).rev() {
            for (sum, own) in state_grad.iter_mut().zip(&states_grad[step * state..]) {
                *sum += own;
            }
            let before = &self.states[step * state..][..state];
            for row in 0..rows {
                let block = (step * rows + row) * wide;
                let (u, gates) = (&self.u[block..][..wide], &self.gates[block..][..wide]);
                let u_grad = &mut u_grad[row * wide..][..wide];
                let symbol = self.symbols[step * rows + row];
                let x_grad = &mut self.from_symbol.grad[symbol * wide..][..wide];
                for k in 0..width {
                    let [z, r, n] = [k, width + k, 2 * width + k];
                    let at = row * width + k;
                    let dh = state_grad[at];
                    let d_n = dh * (1.0 - gates[z]) * (1.0 - gates[n] * gates[n]);
                    let d_r = d_n * u[n] * gates[r] * (1.0 - gates[r]);
                    let d_z = dh * (before[at] - gates[n]) * gates[z] * (1.0 - gates[z]);
                    x_grad[z] += d_z;
                    x_grad[r] += d_r;
                    x_grad[n] += d_n;
                    u_grad[z] = d_z;
                    u_grad[r] = d_r;
                    u_grad[n] = d_n * gates[r];
                    state_grad[at] = dh * gates[z];
                }
            }
            add_transposed_product(&mut self.from_state.grad, before, &u_grad, width, wide);
            product_transposed(&mut through_u, &u_grad, &self.from_state.theta, wide, width);
            for (sum, more) in state_grad.iter_mut().zip(&through_u) {
                *sum += more;
            }
        }
    }

    /// The weights from the symbol, `symbols x 3 width`, and from the state, `width x 3 width`.
    pub fn parameters(&mut self) -> Vec<&mut Parameter> {
        vec![&mut self.from_symbol, &mut self.from_state]
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-x))
}
