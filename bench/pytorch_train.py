"""The rival of training_bench: the same training step in eager PyTorch.

A 97M Llama shape (12 layers, width 768, 12 heads, inner width 2048, vocabulary 8192, untied head) on 4 texts
of 512 tokens: fp32 weights, bf16 autocast (or fp32), cross entropy, clipping to 1, AdamW as torch.optim has
it. Plain modules, as a training script on PyTorch would write them.

    apt-get install python3-torch      # 1.13 in Debian 12; for this comparison only, mneme does not use it
    OMP_NUM_THREADS=2 python3 bench/pytorch_train.py [bf16|fp32] [steps]

Prints the tokens a second of the fastest step, as training_bench does.
"""
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

ROWS, LENGTH, VOCAB, WIDTH, HEADS, INNER, LAYERS = 4, 512, 8192, 768, 12, 2048, 12
HEAD = WIDTH // HEADS


class RmsNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x):
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
        return self.weight * wide.to(x.dtype)


def rotate(x, cos, sin):
    half = torch.cat((-x[..., HEAD // 2:], x[..., :HEAD // 2]), -1)
    return x * cos + half * sin


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention_norm, self.mlp_norm = RmsNorm(), RmsNorm()
        self.q, self.k, self.v, self.out = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.gate, self.up = (nn.Linear(WIDTH, INNER, bias=False) for _ in range(2))
        self.down = nn.Linear(INNER, WIDTH, bias=False)

    def attention(self, x, cos, sin, hidden):
        q, k, v = (m(x).view(ROWS, LENGTH, HEADS, HEAD).transpose(1, 2) for m in (self.q, self.k, self.v))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        scores = q @ k.transpose(2, 3) / HEAD**0.5 + hidden
        weights = F.softmax(scores, -1, dtype=torch.float32).to(v.dtype)
        return self.out((weights @ v).transpose(1, 2).reshape(ROWS, LENGTH, WIDTH))

    def forward(self, x, cos, sin, hidden):
        x = x + self.attention(self.attention_norm(x), cos, sin, hidden)
        y = self.mlp_norm(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Llama(nn.Module):
    def __init__(self, dtype):
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = RmsNorm()
        self.head = nn.Linear(WIDTH, VOCAB, bias=False)
        angles = torch.outer(torch.arange(LENGTH), 10000.0**(-torch.arange(0, HEAD, 2) / HEAD))
        angles = torch.cat((angles, angles), -1)
        self.cos, self.sin = angles.cos().to(dtype), angles.sin().to(dtype)
        self.hidden = torch.full((LENGTH, LENGTH), float("-inf")).triu(1).to(dtype)
        for p in self.parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.02)

    def forward(self, ids):
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin, self.hidden)
        return self.head(self.norm(x))


def main():
    half = len(sys.argv) < 2 or sys.argv[1] == "bf16"
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    torch.manual_seed(1)
    model = Llama(torch.bfloat16 if half else torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.1)
    best = float("inf")
    for _ in range(steps):
        text = torch.randint(VOCAB, (ROWS, LENGTH + 1))
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            logits = model(text[:, :-1])
        loss = F.cross_entropy(logits.float().view(-1, VOCAB), text[:, 1:].reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        best = min(best, time.perf_counter() - start)
    count = sum(p.numel() for p in model.parameters())
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {'bf16' if half else 'fp32'}, "
          f"{count / 1e6:.1f}M parameters: {ROWS * LENGTH / best:.0f} tokens/s, {best:.3f} s a step, "
          f"loss {loss.item():.3f}")


main()
