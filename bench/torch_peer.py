"""PyTorch's optimizers, one turn at a time: reads `kind tensors length count`, answers the seconds of `count` steps."""
import sys
import time

import torch


def adarem(theta, grad, m, largest, lr, beta, lam):
    """AdaRem as a user would write it in tensor operations."""
    b = torch.sign(grad) * m / largest.clamp_min(1e-30)
    theta.sub_(lr * (1 + lam * b) * grad)
    m.mul_(beta).add_(grad, alpha=1 - beta)
    largest.copy_(m.abs().max())


class AdaRem:
    def __init__(self, parameters, step):
        self.parameters, self.update = parameters, step
        self.state = [(torch.zeros_like(p), torch.zeros(())) for p in parameters]

    @torch.no_grad()
    def step(self):
        for p, (m, largest) in zip(self.parameters, self.state):
            self.update(p, p.grad, m, largest, 1e-6, 0.9, 0.999)


def make(kind, tensors, length):
    parameters = [torch.nn.Parameter(torch.full((length,), 0.25)) for _ in range(tensors)]
    for p in parameters:
        p.grad = torch.full_like(p, 0.1)
    rule, _, form = kind.partition("_")
    if rule == "adarem":
        return AdaRem(parameters, torch.compile(adarem) if form == "compiled" else adarem)
    forms = {"foreach": form == "foreach", "fused": form == "fused"}
    if rule == "sgdm":
        return torch.optim.SGD(parameters, lr=1e-6, momentum=0.9, **forms)
    return torch.optim.Adam(parameters, lr=1e-6, **forms)


torch.set_num_threads(int(sys.argv[1]))
print(torch.__version__, flush=True)
made = {}
for line in sys.stdin:
    kind, tensors, length, count = line.split()
    if kind == "end":
        break
    key = (kind, int(tensors), int(length))
    if key[1:] != next((k[1:] for k in made), key[1:]):
        made.clear()
    if key not in made:
        made[key] = make(*key)
    optimizer = made[key]
    start = time.perf_counter()
    for _ in range(int(count)):
        optimizer.step()
    print(time.perf_counter() - start, flush=True)
