"""Times PyTorch's fused SGD, Adam and AdamW on the lists of tensors that benches/steps.rs steps.

Prints the same columns, so that both tables can stand under each other:

    python3 backends/cuda/benches/torch_fused.py

Where PyTorch is not installed, or sees no GPU, it says so and ends well.
"""

import statistics
import time

ROUNDS = 9
ROUND = 0.1


def resnet_50():
    """The lengths of ResNet-50's 161 parameters: 25,557,032 in all."""
    lengths = []

    def convolution(source, to, side):
        lengths.extend([to * source * side * side, to, to])

    convolution(3, 64, 7)
    source = 64
    for width, blocks in [(64, 3), (128, 4), (256, 6), (512, 3)]:
        for block in range(blocks):
            convolution(source, width, 1)
            convolution(width, width, 3)
            convolution(width, 4 * width, 1)
            if block == 0:
                convolution(source, 4 * width, 1)
            source = 4 * width
    lengths.extend([1000 * source, 1000])
    assert (len(lengths), sum(lengths)) == (161, 25_557_032)
    return lengths


def seconds(torch, work):
    """Seconds that one of `work` takes, repeated until a round is over."""
    repeats = 1
    while True:
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(repeats):
            work()
        torch.cuda.synchronize()
        elapsed = time.perf_counter() - start
        if elapsed >= ROUND:
            return elapsed / repeats
        repeats *= 2


def row(torch, lengths, name, optimizer, vectors):
    """Bytes: every vector that a step reads or writes, four bytes a parameter each."""
    parameters = sum(lengths)
    try:
        thetas = [torch.rand(n, device="cuda", requires_grad=True) for n in lengths]
        for theta in thetas:
            theta.grad = torch.rand_like(theta)
        step = optimizer(thetas).step
        for _ in range(3):
            step()
        copies, steps = [], []

        def copy():
            with torch.no_grad():
                for theta in thetas:
                    theta.copy_(theta.grad)

        for _ in range(ROUNDS):
            copies.append(seconds(torch, copy))
            steps.append(seconds(torch, step))
    except torch.cuda.OutOfMemoryError:
        print(f"| {len(lengths)} | {parameters} | {name} | does not fit |||||")
        return
    bytes_each = 4 * vectors
    step_time, copy_time = statistics.median(steps), statistics.median(copies)
    of_step = bytes_each * parameters / step_time / 1e9
    of_copy = 8 * parameters / copy_time / 1e9
    print(
        f"| {len(lengths)} | {parameters} | {name} | | {bytes_each} | {step_time * 1e6:.1f} "
        f"| {of_step:.0f} | {100 * of_step / of_copy:.1f} % of {of_copy:.0f} |"
    )


def main():
    try:
        import torch
    except ImportError:
        print("Nothing was measured: PyTorch is not installed.")
        return
    if not torch.cuda.is_available():
        print("Nothing was measured: PyTorch sees no CUDA device.")
        return
    print(f"{torch.cuda.get_device_name(0)}, PyTorch {torch.__version__}, f32, median of {ROUNDS} rounds.\n")
    print("| tensors | parameters | rule | launches | B/parameter | us/step | GB/s | of copy |")
    print("|--:|--:|---|--:|--:|--:|--:|--:|")
    optim = torch.optim
    for lengths in [[10**6], [10**7], [10**8], [10**9], resnet_50()]:
        rows = [
            ("torch fused SGD", lambda p: optim.SGD(p, lr=1e-3, fused=True), 3),
            ("torch fused SGDM", lambda p: optim.SGD(p, lr=1e-3, momentum=0.9, fused=True), 5),
            ("torch fused Adam", lambda p: optim.Adam(p, lr=1e-3, fused=True), 7),
            ("torch fused AdamW", lambda p: optim.AdamW(p, lr=1e-3, fused=True), 7),
        ]
        for name, optimizer, vectors in rows:
            row(torch, lengths, name, optimizer, vectors)
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
