# Writes the files of this folder with PyTorch itself (1.13 here). Not needed to build or test.
import argparse
import collections
import zipfile

import torch

torch.manual_seed(0)
base = torch.arange(24, dtype=torch.float32)
state = collections.OrderedDict()
for name in "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool".split():
    state["dtype." + name] = (torch.arange(6).reshape(2, 3) % 5).to(getattr(torch, name))
state["shared.a"] = base[:12].view(3, 4)
state["shared.b"] = base[6:18].view(2, 6)
state["transposed"] = base.view(4, 6).t()
state["strided"] = base[1::3]
state["expanded"] = torch.tensor([7.0, 8.0]).view(2, 1).expand(2, 3)
state["scalar"] = torch.tensor(2.5)
state["empty"] = torch.empty(0, 3)
state["parameter"] = torch.nn.Parameter(torch.tensor([1.0, -1.0]))

torch.save(state, "state.bin")
torch.save(state, "state_old.bin", _use_new_zipfile_serialization=False)
torch.save(state, "state_protocol4.bin", pickle_protocol=4)

module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LayerNorm(3))
optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
module(torch.ones(1, 2)).sum().backward()
optimizer.step()
checkpoint = {
    "model": module.state_dict(),
    "optimizer": optimizer.state_dict(),
    "args": argparse.Namespace(lr=0.1, betas=(0.9, 0.95), name="x", big=1 << 80, steps=-5, ok=True, none=None),
    "defaults": collections.defaultdict(int, {"a": 1}),
    "size": torch.Size([2, 3]),
    "dtype": torch.float16,
    "device": torch.device("cpu"),
    "history": [torch.ones(1), {"loss": torch.tensor(0.5)}],
}
torch.save(checkpoint, "checkpoint.bin")
torch.save(torch.ones(1, 2, 3), "tensor.bin")
torch.save({"model": torch.nn.Linear(2, 2)}, "module.bin")  # a pickled module: must be refused

with zipfile.ZipFile("state.bin") as source, zipfile.ZipFile("state_deflated.bin", "w", zipfile.ZIP_DEFLATED) as target:
    for item in source.infolist():
        target.writestr(item.filename, source.read(item.filename))
zipfile.ZIP64_LIMIT = 0  # every size and offset goes into zip64 fields
with zipfile.ZipFile("state.bin") as source, zipfile.ZipFile("state_zip64.bin", "w") as target:
    for item in source.infolist():
        target.writestr(item.filename, source.read(item.filename))
