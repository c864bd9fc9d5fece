"""Makes the trajectories `hard_*.json` and `paper_*.json`, in binary64:  python make.py FOLDER

Every case has four tensors, whose gradients are mostly zero, tiny (1e-6), huge (1e4 * 10^(-3 .. 2)) and alternating
(`hard`), or ordinary (`paper`). Rules that PyTorch has are run by torch.optim; the others are written down here once
more, from their papers and apart from the library. Needs numpy and torch.
"""
import json, math, sys
from pathlib import Path

import numpy as np
import torch

STEPS = 14
torch.set_default_dtype(torch.float64)
rng = np.random.default_rng(20201119)


def hard():
    theta = [rng.normal(size=n) for n in (4, 3, 3, 4)]
    base = rng.normal(size=4)
    grads = [[rng.normal(size=4) * (rng.random(4) < 0.3), 1e-6 * rng.normal(size=3),
              1e4 * rng.normal(size=3) * 10.0 ** rng.integers(-3, 3, size=3),
              base * (-1) ** t * (1 + 0.1 * rng.normal(size=4))] for t in range(STEPS)]
    return theta, grads


def ordinary():
    theta = [rng.normal(size=n) for n in (5, 2)]
    drift = [rng.normal(size=n) for n in (5, 2)]
    return theta, [[0.5 * d + rng.normal(size=d.size) for d in drift] for _ in range(STEPS)]


# --- rules that PyTorch has -------------------------------------------------------------------------------------

def by_torch(make):
    def run(lrs, theta, grads, **_):
        params = [torch.nn.Parameter(torch.tensor(x.copy())) for x in theta]
        optimizer = make(params, lrs[0])
        for lr, gs in zip(lrs, grads):
            for group in optimizer.param_groups:
                group["lr"] = lr
            for p, g in zip(params, gs):
                p.grad = torch.tensor(g.copy())
            optimizer.step()
            yield [p.detach().numpy().copy() for p in params]
    return run


# --- rules from papers: one tensor at a time, `s` is its state ---------------------------------------------------

def by_paper(step):
    def run(lrs, theta, grads, **config):
        theta, states = [x.copy() for x in theta], [{} for _ in theta]
        for t, (lr, gs) in enumerate(zip(lrs, grads), 1):
            for i, g in enumerate(gs):
                theta[i] = step(theta[i], g, states[i], t, lr, lrs[0], **config)
            yield [x.copy() for x in theta]
    return run


def zeros(s, like, *names):
    return [s.setdefault(name, np.zeros_like(like)) for name in names]


def adam(x, g, s, t, lr, lr0, beta1, beta2, eps, weight_decay=0.0, eps_hat=False, decay=None, amsgrad=False):
    m, v, top = zeros(s, x, "m", "v", "top")
    if decay is None:
        g = g + weight_decay * x
    else:
        x = x - decay(lr, lr0) * weight_decay * x
    s["m"] = m = beta1 * m + (1 - beta1) * g
    s["v"] = v = beta2 * v + (1 - beta2) * g**2
    if amsgrad:
        s["top"] = v = np.maximum(top, v)
    c1, c2 = 1 - beta1**t, 1 - beta2**t
    if eps_hat:
        return x - lr * math.sqrt(c2) / c1 * m / (np.sqrt(v) + eps)
    return x - lr * (m / c1) / (np.sqrt(v / c2) + eps)


def sgdm(x, g, s, t, lr, lr0, momentum, average=False, lr_inside=False, nesterov=False):
    (b,) = zeros(s, x, "b")
    f = (1 - momentum) * g if average else g
    f = lr * f if lr_inside else f
    s["b"] = b = momentum * b + f
    u = f + momentum * b if nesterov else b
    return x - (u if lr_inside else lr * u)


def sgdw(x, g, s, t, lr, lr0, momentum, weight_decay, base_lr):
    (m,) = zeros(s, x, "m")
    multiplier = lr / base_lr
    s["m"] = m = momentum * m + multiplier * base_lr * g
    return x - m - multiplier * weight_decay * x


def nag(x, g, s, t, lr, lr0, momentum):
    (m,) = zeros(s, x, "m")
    w = s.setdefault("w", x.copy())
    s["m"] = m = momentum * m + lr * g
    s["w"] = w = w - m
    return w - momentum * m


def rmsprop(x, g, s, t, lr, lr0, alpha, eps, eps_inside, centered=False, momentum=0.0):
    v, a, b = zeros(s, x, "v", "a", "b")
    s["v"] = v = alpha * v + (1 - alpha) * g**2
    if centered:
        s["a"] = a = alpha * a + (1 - alpha) * g
        v = v - a**2
    u = g / (np.sqrt(v + eps) if eps_inside else np.sqrt(v) + eps)
    s["b"] = u = momentum * b + u
    return x - lr * u


def bound(x, g, s, t, lr, lr0, beta1, beta2, eps, final_lr, gamma, base_lr, amsbound=False, weight_decay=0.0, decoupled=False):
    m, v, top = zeros(s, x, "m", "v", "top")
    x = x - lr * weight_decay * x if decoupled else x
    s["m"] = m = beta1 * m + (1 - beta1) * g
    s["v"] = v = beta2 * v + (1 - beta2) * g**2
    if amsbound:
        s["top"] = v = np.maximum(top, v)
    f = final_lr * (lr / base_lr if base_lr else 1.0)
    rate = lr * math.sqrt(1 - beta2**t) / (1 - beta1**t) / (np.sqrt(v) + eps)
    return x - np.clip(rate, f * (1 - 1 / (gamma * t + 1)), f * (1 + 1 / (gamma * t))) * m


def padam(x, g, s, t, lr, lr0, beta1, beta2, eps, partial, weight_decay):
    m, v, top = zeros(s, x, "m", "v", "top")
    g = g + weight_decay * x
    s["m"] = m = beta1 * m + (1 - beta1) * g
    s["v"] = v = beta2 * v + (1 - beta2) * g**2
    s["top"] = top = np.maximum(top, v)
    return x - lr * math.sqrt(1 - beta2**t) / (1 - beta1**t) * m / np.power(np.sqrt(top) + eps, 2 * partial)


def yogi(x, g, s, t, lr, lr0, beta1, beta2, eps, initial_accumulator):
    m = s.setdefault("m", np.full_like(x, initial_accumulator))
    v = s.setdefault("v", np.full_like(x, initial_accumulator))
    s["m"] = m = beta1 * m + (1 - beta1) * g
    s["v"] = v = v - (1 - beta2) * np.sign(v - g**2) * g**2
    return x - lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)


def nadam_constant(x, g, s, t, lr, lr0, beta1, beta2, eps, constant_momentum):
    m, v = zeros(s, x, "m", "v")
    s["m"] = m = beta1 * m + (1 - beta1) * g
    s["v"] = v = beta2 * v + (1 - beta2) * g**2
    c1, c2 = 1 - beta1**t, 1 - beta2**t
    return x - lr * (beta1 * m / c1 + (1 - beta1) * g / c1) / (np.sqrt(v / c2) + eps)


def radam_hold(x, g, s, t, lr, lr0, beta1, beta2, eps, hold):
    m, v = zeros(s, x, "m", "v")
    s["m"] = m = beta1 * m + (1 - beta1) * g
    s["v"] = v = beta2 * v + (1 - beta2) * g**2
    most = 2 / (1 - beta2) - 1
    n = most - 2 * t * beta2**t / (1 - beta2**t)
    if n < 5:
        return x
    step = math.sqrt((1 - beta2**t) * (n - 4) / (most - 4) * (n - 2) / n * most / (most - 2)) / (1 - beta1**t)
    return x - step * lr * m / (np.sqrt(v) + eps)


def adashift(x, g, s, t, lr, lr0, beta1, beta2, eps, each, n=10):
    past = s.setdefault("past", [])
    past.append(g.copy())
    if t <= n:
        return x
    old = past[t - 1 - n]
    square = old**2 if each else np.max(np.abs(old)) ** 2
    s["v"] = v = beta2 * s.get("v", 0.0) + (1 - beta2) * square
    weights = [beta1**i for i in range(n)]
    m = sum(w * past[t - 1 - i] for i, w in enumerate(weights)) / sum(weights)
    return x - lr * m / (np.sqrt(v / (1 - beta2 ** (t - n))) + eps)


def nosadam(x, g, s, t, lr, lr0, beta1, gamma, eps, weight_decay):
    m, v = zeros(s, x, "m", "v")
    g = g + weight_decay * x
    before = s.get("B", 0.0)
    s["B"] = now = before + t**-gamma
    beta2 = before / now
    s["m"] = m = beta1 * m + (1 - beta1) * g
    s["v"] = v = beta2 * v + (1 - beta2) * g**2
    return x - lr * m / (1 - beta1**t) / (np.sqrt(v) + eps)


def sc_adagrad(x, g, s, t, lr, lr0, xi1, xi2, weight_decay):
    (v,) = zeros(s, x, "v")
    g = g + weight_decay * x
    s["v"] = v = v + g**2
    return x - lr * g / (v + xi2 * np.exp(-xi1 * v))


def sc_rmsprop(x, g, s, t, lr, lr0, gamma, xi1, xi2):
    (v,) = zeros(s, x, "v")
    beta = 1 - gamma / t
    s["v"] = v = beta * v + (1 - beta) * g**2
    return x - lr * g / (t * v + xi2 * np.exp(-xi1 * t * v))


def adagrad_norm(x, g, s, t, lr, lr0, b0):
    s["b2"] = b2 = s.get("b2", b0**2) + np.dot(g, g)
    return x - lr / math.sqrt(b2) * g


def nd_adam(x, g, s, t, lr, lr0, beta1, beta2, eps):
    (m,) = zeros(s, x, "m")
    x = x / np.linalg.norm(x) if t == 1 else x
    g = g - np.dot(g, x) * x
    s["m"] = m = beta1 * m + (1 - beta1) * g
    s["v"] = v = beta2 * s.get("v", 0.0) + (1 - beta2) * np.dot(g, g)
    h = x - lr * (m / (1 - beta1**t)) / (math.sqrt(v / (1 - beta2**t)) + eps)
    return h / np.linalg.norm(h)


def swats(x, g, s, t, lr, lr0, beta1, beta2, eps, atol, rtol, weight_decay=0.0):
    m, v = zeros(s, x, "m", "v")
    g = g + weight_decay * x
    if "rate" in s:
        s["m"] = m = beta1 * m + g
        return x - (1 - beta1) * lr * s["rate"] * m
    s["m"] = m = beta1 * m + (1 - beta1) * g
    s["v"] = v = beta2 * v + (1 - beta2) * g**2
    p = -lr * math.sqrt(1 - beta2**t) / (1 - beta1**t) * m / (np.sqrt(v) + eps)
    if np.dot(p, g) != 0:
        now = np.dot(p, p) / -np.dot(p, g)
        s["l"] = beta2 * s.get("l", 0.0) + (1 - beta2) * now
        settled = s["l"] / (1 - beta2**t)
        if t > 1 and settled > 0 and abs(settled - now) < atol + rtol * abs(now):
            s["rate"], s["m"] = settled / lr, np.zeros_like(x)
    return x + p


def lion(x, g, s, t, lr, lr0, beta1, beta2, weight_decay):
    (m,) = zeros(s, x, "m")
    x = x - lr * (np.sign(beta1 * m + (1 - beta1) * g) + weight_decay * x)
    s["m"] = beta2 * m + (1 - beta2) * g
    return x


def lamb(x, g, s, t, lr, lr0, beta1, beta2, eps, weight_decay):
    m, v = zeros(s, x, "m", "v")
    s["m"] = m = beta1 * m + (1 - beta1) * g
    s["v"] = v = beta2 * v + (1 - beta2) * g**2
    r = (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps) + weight_decay * x
    norm, length = np.linalg.norm(x), np.linalg.norm(r)
    return x - lr * (norm / length if norm > 0 and length > 0 else 1.0) * r


# --- the cases ----------------------------------------------------------------------------------------------------

def write(folder, name, rule, config, run, source, problem, lr, f32, keep_lr=False, reference=None):
    theta, grads = problem()
    lrs = [lr if keep_lr else lr * 0.5 * (1 + math.cos(math.pi * t / (STEPS + 2))) for t in range(STEPS)]
    trajectory = list(run(lrs, theta, grads, **(config if reference is None else reference)))
    steps = [dict(lr=lr, grads=[g.tolist() for g in gs], theta=[x.tolist() for x in xs])
             for lr, gs, xs in zip(lrs, grads, trajectory)]
    case = dict(schema=1, name=name, rule=rule, config=config, source=source, max_rel_error=1e-9,
                max_rel_error_f32=f32, theta0=[x.tolist() for x in theta], steps=steps)
    (folder / f"{name}.json").write_text(json.dumps(case, separators=(",", ":")))


def main(folder):
    o = torch.optim
    betas = dict(beta1=0.8, beta2=0.95)
    pair = (0.8, 0.95)
    a = dict(betas, eps=1e-8)
    d = dict(foreach=False)
    for name, rule, config, make, lr in [
        ("sgdm", "sgd", dict(momentum=0.7, dampening=0.3, nesterov=False, weight_decay=0.1),
         lambda p, lr: o.SGD(p, lr=lr, momentum=0.7, dampening=0.3, weight_decay=0.1, **d), 0.01),
        ("nesterov", "sgd", dict(momentum=0.7, dampening=0.0, nesterov=True, weight_decay=0.1),
         lambda p, lr: o.SGD(p, lr=lr, momentum=0.7, nesterov=True, weight_decay=0.1, **d), 0.01),
        ("adam", "adam", dict(a, weight_decay=0.1, amsgrad=False),
         lambda p, lr: o.Adam(p, lr=lr, betas=pair, weight_decay=0.1, **d), 0.01),
        ("amsgrad", "adam", dict(a, weight_decay=0.0, amsgrad=True),
         lambda p, lr: o.Adam(p, lr=lr, betas=pair, amsgrad=True, **d), 0.01),
        ("adamw", "adamw", dict(a, weight_decay=0.3, amsgrad=False),
         lambda p, lr: o.AdamW(p, lr=lr, betas=pair, weight_decay=0.3, **d), 0.01),
        ("adamw_amsgrad", "adamw", dict(a, weight_decay=0.3, amsgrad=True),
         lambda p, lr: o.AdamW(p, lr=lr, betas=pair, weight_decay=0.3, amsgrad=True, **d), 0.01),
        ("rmsprop", "rmsprop", dict(alpha=0.9, eps=1e-6, weight_decay=0.1, momentum=0.0, centered=False),
         lambda p, lr: o.RMSprop(p, lr=lr, alpha=0.9, eps=1e-6, weight_decay=0.1, **d), 0.01),
        ("rmsprop_momentum", "rmsprop", dict(alpha=0.9, eps=1e-6, weight_decay=0.0, momentum=0.6, centered=False),
         lambda p, lr: o.RMSprop(p, lr=lr, alpha=0.9, eps=1e-6, momentum=0.6, **d), 0.01),
        ("rmsprop_centered", "rmsprop", dict(alpha=0.9, eps=1e-6, weight_decay=0.0, momentum=0.0, centered=True),
         lambda p, lr: o.RMSprop(p, lr=lr, alpha=0.9, eps=1e-6, centered=True, **d), 0.01),
        ("rmsprop_centered_momentum", "rmsprop", dict(alpha=0.9, eps=1e-6, weight_decay=0.1, momentum=0.6, centered=True),
         lambda p, lr: o.RMSprop(p, lr=lr, alpha=0.9, eps=1e-6, weight_decay=0.1, momentum=0.6, centered=True, **d), 0.01),
        ("adagrad", "adagrad", dict(lr_decay=0.05, initial_accumulator_value=0.0, eps=1e-10, weight_decay=0.1),
         lambda p, lr: o.Adagrad(p, lr=lr, lr_decay=0.05, weight_decay=0.1, **d), 0.1),
        ("adadelta", "adadelta", dict(rho=0.8, eps=1e-5, weight_decay=0.1),
         lambda p, lr: o.Adadelta(p, lr=lr, rho=0.8, eps=1e-5, weight_decay=0.1, **d), 1.0),
        ("adamax", "adamax", dict(a, weight_decay=0.1),
         lambda p, lr: o.Adamax(p, lr=lr, betas=pair, weight_decay=0.1, **d), 0.01),
        ("nadam", "nadam", dict(a, weight_decay=0.1, momentum_decay=0.02),
         lambda p, lr: o.NAdam(p, lr=lr, betas=pair, weight_decay=0.1, momentum_decay=0.02, **d), 0.01),
        ("nadam_decoupled", "nadam", dict(a, weight_decay=0.1, decoupled=True),
         lambda p, lr: o.NAdam(p, lr=lr, betas=pair, weight_decay=0.1, decoupled_weight_decay=True, **d), 0.01),
        ("radam", "radam", dict(a, weight_decay=0.1),
         lambda p, lr: o.RAdam(p, lr=lr, betas=pair, weight_decay=0.1, **d), 0.01),
        ("radam_decoupled", "radam", dict(beta1=0.8, beta2=0.99, eps=1e-8, weight_decay=0.1, decoupled=True),
         lambda p, lr: o.RAdam(p, lr=lr, betas=(0.8, 0.99), weight_decay=0.1, decoupled_weight_decay=True, **d), 0.01),
        ("rprop", "rprop", dict(eta_minus=0.4, eta_plus=1.3, step_min=5e-3, step_max=0.02),
         lambda p, lr: o.Rprop(p, lr=lr, etas=(0.4, 1.3), step_sizes=(5e-3, 0.02), **d), 0.01),
    ]:
        source = f"PyTorch {torch.__version__.split('+')[0]}, torch.optim"
        write(folder, f"hard_{name}", rule, config, by_torch(make), source, hard, lr, None, keep_lr=rule == "rprop")

    b = dict(betas, eps=1e-8, final_lr=0.1, gamma=0.05)
    for name, rule, config, step, source, lr, reference in [
        ("adam_eps_hat", "adam", dict(betas, eps=1e-3, eps_hat=True), adam, "Adam paper, section 2", 0.01, None),
        ("adamw_schedule", "adamw", dict(a, weight_decay=0.02, base_lr=0.01), adam, "AdamW paper, Algorithm 2", 0.01,
         dict(a, weight_decay=0.02, decay=lambda lr, lr0: lr / lr0)),
        ("sgdm_average", "sgdm", dict(momentum=0.8, average=True), sgdm, "momentum as a running average", 0.1, None),
        ("sgdm_inside", "sgdm", dict(momentum=0.8, lr_inside=True), sgdm, "momentum with the rate in the buffer", 0.1, None),
        ("nag_second", "sgdm", dict(momentum=0.8, lr_inside=True, nesterov=True), nag, "NAG, form i", 0.1, dict(momentum=0.8)),
        ("nag_first", "nag", dict(momentum=0.8), nag, "NAG, form i", 0.1, None),
        ("sgdw", "sgdw", dict(momentum=0.8, weight_decay=0.02, base_lr=0.1), sgdw, "AdamW paper, Algorithm 1", 0.1, None),
        ("rmsprop_inside", "rmsprop", dict(alpha=0.9, eps=1e-3, eps_inside=True), rmsprop, "RMSProp, eps in the root", 0.01, None),
        ("rmsprop_inside_momentum", "rmsprop_m", dict(alpha=0.9, eps=1e-3, eps_inside=True, momentum=0.5), rmsprop,
         "RMSProp, eps in the root", 0.01, None),
        ("rmsprop_inside_centered", "rmsprop_centered", dict(alpha=0.9, eps=1e-3, eps_inside=True), rmsprop,
         "RMSProp, eps in the root", 0.01, dict(alpha=0.9, eps=1e-3, eps_inside=True, centered=True)),
        ("adabound_fixed", "adabound", dict(b, base_lr=None), bound, "AdaBound, bounds that stand still", 0.01, None),
        ("adabound_decoupled", "adabound", dict(b, base_lr=0.01, weight_decay=0.3, decoupled=True), bound,
         "AdaBound, decoupled decay", 0.01, None),
        ("amsbound_fixed", "amsbound", dict(b, base_lr=None), bound, "AMSBound, bounds that stand still", 0.01,
         dict(b, base_lr=None, amsbound=True)),
        ("padam_half", "padam", dict(a, partial=0.5, weight_decay=0.0), padam, "Padam, numpy's power", 0.01, None),
        ("padam_quarter", "padam", dict(a, partial=0.25, weight_decay=0.1), padam, "Padam, numpy's power", 0.1, None),
        ("padam_sixteenth", "padam", dict(a, partial=0.0625, weight_decay=0.1), padam, "Padam, numpy's power", 0.1, None),
        ("padam_third", "padam", dict(a, partial=1 / 3, weight_decay=0.1), padam, "Padam, numpy's power", 0.1, None),
        ("padam_tenth", "padam", dict(a, partial=0.1, weight_decay=0.0), padam, "Padam, numpy's power", 0.1, None),
        ("padam_near_none", "padam", dict(a, partial=1e-6, weight_decay=0.0), padam, "Padam, numpy's power", 0.1, None),
        ("yogi", "yogi", dict(betas, eps=1e-3, initial_accumulator=1e-2), yogi, "Yogi, as TensorFlow Addons", 0.01, None),
        ("nadam_constant", "nadam", dict(a, constant_momentum=True), nadam_constant, "Nadam without a schedule", 0.01, None),
        ("radam_hold", "radam", dict(beta1=0.8, beta2=0.99, eps=1e-8, hold=True), radam_hold, "RAdam, the authors' start", 0.01, None),
        ("adashift", "adashift", dict(betas, eps=1e-10), adashift, "AdaShift paper, phi = max", 0.01, dict(betas, eps=1e-10, each=False)),
        ("adashift_each", "adashift_each", dict(betas, eps=1e-3), adashift, "AdaShift paper, phi = identity", 0.01,
         dict(betas, eps=1e-3, each=True)),
        ("nosadam", "nosadam", dict(beta1=0.8, gamma=0.3, eps=1e-8, weight_decay=0.1), nosadam, "NosAdam paper", 0.01, None),
        ("sc_adagrad", "sc_adagrad", dict(xi1=0.3, xi2=0.2, weight_decay=0.1), sc_adagrad, "SC-Adagrad paper", 0.1, None),
        ("sc_rmsprop", "sc_rmsprop", dict(gamma=0.8, xi1=0.3, xi2=0.2), sc_rmsprop, "SC-RMSProp paper", 0.1, None),
        ("adagrad_norm", "adagrad_norm", dict(b0=0.3), adagrad_norm, "AdaGrad-norm paper", 1.0, None),
        ("nd_adam", "nd_adam", dict(a), nd_adam, "ND-Adam paper, one vector a tensor", 0.05, None),
        ("swats", "swats", dict(a, atol=0.0, rtol=0.1), swats, "SWATS paper; the switch made easy", 0.01, None),
        ("swats_decay", "swats", dict(a, atol=1e-3, rtol=0.0, weight_decay=0.1), swats, "SWATS paper; the switch made easy", 0.01, None),
        ("lion", "lion", dict(betas, weight_decay=0.1), lion, "Lion paper", 0.01, None),
        ("lamb", "lamb", dict(betas, eps=1e-6, weight_decay=0.1), lamb, "LAMB paper", 0.01, None),
    ]:
        run = by_paper(step)
        source += ", in numpy"
        # Where a comparison of two sums decides, a replay in f32 may decide otherwise.
        f32 = None if rule == "swats" else 1e-3
        write(folder, f"paper_{name}", rule, config, run, source, ordinary, lr, f32, reference=reference)
        write(folder, f"hard_{name}", rule, config, run, source, hard, lr, None, reference=reference)


main(Path(sys.argv[1]))
