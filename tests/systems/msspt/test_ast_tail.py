"""The transformer tail: against torch's own encoder, weights of vision transformers, its place in the joint model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from mss_core import models
from mss_core.data import weights as weight_files
from mss_core.data.sets import WeightSet
from mss_core.models.unet import UNet
from mss_core.systems.msspt.ast_tail import AstTail, from_vision
from mss_core.systems.msspt.joint import JointAst, inflate

WIDTH, DEPTH, HEADS, HIDDEN = 12, 6, 3, 20
SMALL = {"frames": 64, "width": WIDTH, "depth": DEPTH, "heads": HEADS, "hidden": HIDDEN}
UNET = {"widths": (2, 2, 2, 3, 3, 3), "post": 2}
BLOCK = {
    "norm1.weight": (WIDTH,),
    "norm1.bias": (WIDTH,),
    "attn.qkv.weight": (3 * WIDTH, WIDTH),
    "attn.qkv.bias": (3 * WIDTH,),
    "attn.proj.weight": (WIDTH, WIDTH),
    "attn.proj.bias": (WIDTH,),
    "norm2.weight": (WIDTH,),
    "norm2.bias": (WIDTH,),
    "mlp.fc1.weight": (HIDDEN, WIDTH),
    "mlp.fc1.bias": (HIDDEN,),
    "mlp.fc2.weight": (WIDTH, HIDDEN),
    "mlp.fc2.bias": (WIDTH,),
}


def vision(side: int = 24, distilled: bool = True, depth: int = DEPTH) -> dict[str, torch.Tensor]:
    """A state_dict with the names and shapes of timm's (distilled) DeiT, small."""
    generator = torch.Generator().manual_seed(side)
    shapes = {
        "cls_token": (1, 1, WIDTH),
        "pos_embed": (1, 1 + distilled + side * side, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, 16, 16),
        "patch_embed.proj.bias": (WIDTH,),
        **{f"blocks.{i}.{name}": shape for i in range(depth) for name, shape in BLOCK.items()},
        "norm.weight": (WIDTH,),
        "norm.bias": (WIDTH,),
        "head.weight": (1000, WIDTH),
        "head.bias": (1000,),
    }
    if distilled:
        shapes |= {"dist_token": (1, 1, WIDTH), "head_dist.weight": (1000, WIDTH), "head_dist.bias": (1000,)}
    return {name: torch.randn(shape, generator=generator) * 0.2 for name, shape in shapes.items()}


def as_transformers(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same weights under the names that transformers' DeiT has."""
    new = {}
    for name, value in state.items():
        if ".attn.qkv." in name:
            block, _, kind = name.partition(".attn.qkv.")
            for part, piece in zip(("query", "key", "value"), value.chunk(3), strict=True):
                new[f"deit.encoder.layer.{block.split('.')[1]}.attention.attention.{part}.{kind}"] = piece
            continue
        for ours, theirs in (
            ("blocks.", "encoder.layer."),
            ("attn.proj", "attention.output.dense"),
            ("norm1", "layernorm_before"),
            ("norm2", "layernorm_after"),
            ("mlp.fc1", "intermediate.dense"),
            ("mlp.fc2", "output.dense"),
            ("cls_token", "embeddings.cls_token"),
            ("dist_token", "embeddings.distillation_token"),
            ("pos_embed", "embeddings.position_embeddings"),
            ("patch_embed.proj", "embeddings.patch_embeddings.projection"),
        ):
            name = name.replace(ours, theirs)
        new["deit." + ("layernorm" + name[4:] if name.startswith("norm.") else name)] = value
    return new


def test_the_tail_equals_torch_s_encoder() -> None:
    torch.manual_seed(0)
    tail = AstTail(5, channels=2, head_norm=True, **SMALL).eval()
    for parameter in tail.parameters():
        nn.init.normal_(parameter, std=0.3)
    spectra = torch.randn(3, 2, 64, 128)
    layer = nn.TransformerEncoderLayer(
        WIDTH, HEADS, HIDDEN, dropout=0.0, activation="gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True
    )
    encoder = nn.TransformerEncoder(layer, DEPTH, enable_nested_tensor=False).eval()
    for theirs, ours in zip(encoder.layers, tail.blocks, strict=True):
        theirs.self_attn.in_proj_weight.data = ours.qkv.weight.data
        theirs.self_attn.in_proj_bias.data = ours.qkv.bias.data
        theirs.self_attn.out_proj.load_state_dict(ours.proj.state_dict())
        for name in ("norm1", "norm2"):
            getattr(theirs, name).load_state_dict(getattr(ours, name).state_dict())
        theirs.linear1.load_state_dict(ours.fc1.state_dict())
        theirs.linear2.load_state_dict(ours.fc2.state_dict())
    kernel = tail.patch.weight.reshape(WIDTH, -1)
    patches = [
        spectra[:, :, t : t + 16, f : f + 16].reshape(3, -1) @ kernel.T + tail.patch.bias
        for t in range(0, 64, 16)
        for f in range(0, 128, 16)
    ]
    with torch.no_grad():
        tokens = torch.stack([tail.cls[:, 0].expand(3, -1), *patches], 1) + tail.position
        token = functional.layer_norm(encoder(tokens)[:, 0], (WIDTH,), tail.norm.weight, tail.norm.bias, 1e-6)
        token = functional.layer_norm(token, (WIDTH,), tail.head_norm.weight, tail.head_norm.bias, 1e-6)
        torch.testing.assert_close(
            tail.classify(spectra, {}), token @ tail.head.weight.T + tail.head.bias, rtol=1e-4, atol=1e-5
        )


def test_an_addition_goes_to_the_patches_that_enter_its_block() -> None:
    torch.manual_seed(0)
    tail = AstTail(5, **SMALL).eval()
    spectra, added = torch.randn(2, 1, 64, 128), torch.randn(2, WIDTH, 4, 8)
    entered: dict[int, torch.Tensor] = {}
    for index, block in enumerate(tail.blocks):
        block.register_forward_pre_hook(lambda module, inputs, index=index: entered.update({index: inputs[0]}))
    with torch.no_grad():
        tail.classify(spectra, {})
        plain = dict(entered)
        tail.classify(spectra, {2: added})
    for index in (0, 1):
        torch.testing.assert_close(entered[index], plain[index])
    difference = entered[2] - plain[2]
    assert difference[:, 0].abs().max() == 0
    for row in range(4):
        for column in range(8):
            torch.testing.assert_close(difference[:, 1 + 8 * row + column], added[:, :, row, column], rtol=0, atol=1e-6)


# ---- weights of vision transformers


def test_a_vision_transformer_s_patches_see_the_spectrum_as_a_grey_picture() -> None:
    """Frequency is the picture's rows and time its columns; red, green and blue are the same."""
    state = vision()
    tail = AstTail(5, **SMALL)
    models.take_backbone(tail, from_vision(state, 64), "weights")
    spectrum = torch.randn(2, 1, 64, 128)
    picture = spectrum.transpose(2, 3).expand(-1, 3, -1, -1)
    expected = functional.conv2d(picture, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=16)
    with torch.no_grad():
        torch.testing.assert_close(tail.patch(spectrum), expected.transpose(2, 3), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("side", "frames"), [(24, 64), (24, 768), (14, 768), (6, 64)])
def test_positions_are_cut_from_the_centre_and_stretched_elsewhere(side: int, frames: int) -> None:
    state = vision(side, distilled=False)
    row, column = np.divmod(np.arange(side * side), side)
    state["pos_embed"][0, 1:, 0] = torch.from_numpy(row).float()
    state["pos_embed"][0, 1:, 1] = torch.from_numpy(column).float()
    position = from_vision(state, frames)["position"]
    torch.testing.assert_close(position[:, 0], state["pos_embed"][:, 0])
    grid = position[0, 1:].reshape(frames // 16, 8, WIDTH)
    for axis, wanted, values in ((0, 8, grid[0, :, 0]), (1, frames // 16, grid[:, 0, 1])):
        if wanted <= side:
            expected = np.arange(wanted) + (side - wanted) // 2
        else:  # bilinear: linear between the centres of the old patches, constant beyond them
            expected = np.clip((np.arange(wanted) + 0.5) * side / wanted - 0.5, 0, side - 1)
        np.testing.assert_allclose(values.numpy(), expected, atol=1e-4, err_msg=str(axis))


def test_two_class_tokens_become_their_mean() -> None:
    state = vision(distilled=True)
    new = from_vision(state, 64)
    torch.testing.assert_close(new["cls"], (state["cls_token"] + state["dist_token"]) / 2)
    torch.testing.assert_close(new["position"][0, 0], state["pos_embed"][0, :2].mean(0))


def test_names_of_transformers_give_the_same_weights() -> None:
    state = vision()
    ours, theirs = from_vision(state, 768), from_vision(as_transformers(state), 768)
    assert ours.keys() == theirs.keys() and not any("head" in name for name in ours)
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, msg=name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {"weight": torch.zeros(3)}, "not a vision transformer's weights: no 'cls_token' among 1 tensors"),
        (lambda s: {**s, "patch_embed.proj.weight": torch.zeros(WIDTH, 3, 8, 8)}, "patches are 8x8"),
        (lambda s: {**s, "pos_embed": torch.zeros(1, 2 + 30, WIDTH)}, "30 patch positions, which is no square image"),
    ],
)
def test_other_weights_are_refused(change, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_vision(change(vision()), 768)


def test_weights_of_another_size_are_refused_by_name() -> None:
    new = from_vision(vision(), 64)
    with pytest.raises(ValueError, match=r"weights: 'patch.weight' has shape \(12, 1, 16, 16\); the model's is \(24"):
        models.take_backbone(AstTail(5, **{**SMALL, "width": 24}), new, "weights")
    with pytest.raises(ValueError, match="weights: no 'blocks.6.*which the model has .12 tensors are missing"):
        models.take_backbone(AstTail(5, **{**SMALL, "depth": 7}), new, "weights")
    with pytest.raises(ValueError, match="weights: the model has no 'blocks.5"):
        models.take_backbone(AstTail(5, **{**SMALL, "depth": 5}), new, "weights")


# ---- files


def write_safetensors(path: Path, state: dict[str, torch.Tensor]) -> None:
    header, blocks, place = {}, [], 0
    for name, value in state.items():
        block = value.numpy().tobytes()
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [place, place + len(block)]}
        blocks.append(block)
        place += len(block)
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blocks))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weight_files_are_read(tmp_path: Path, suffix: str) -> None:
    state = vision(6)
    path = tmp_path / f"deit{suffix}"
    if suffix == ".pth":
        torch.save({"model": state}, path)
    else:
        write_safetensors(path, state)
    assert weight_files.find(WeightSet(), tmp_path) == path
    read = weight_files.read(path)
    assert read.keys() == state.keys() and all(torch.equal(read[name], state[name]) for name in state)


def test_what_is_wrong_with_weight_files_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must hold one file .pth, .pt, .bin, .safetensors, .tar; it holds none"):
        weight_files.find(WeightSet(), tmp_path)
    torch.save(vision(6), tmp_path / "a.pth")
    content = (tmp_path / "a.pth").read_bytes()
    (tmp_path / "b.bin").write_bytes(content)
    with pytest.raises(ValueError, match="it holds a.pth, b.bin"):
        weight_files.find(WeightSet(), tmp_path)
    (tmp_path / "b.bin").unlink()
    good = tmp_path / f"a-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (tmp_path / "a.pth").rename(good)
    assert weight_files.find(WeightSet(), tmp_path) == good
    good.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match="not the one in its name"):
        weight_files.find(WeightSet(), tmp_path)
    for name, damaged in (("c.pth", content[:100]), ("c.safetensors", content[:100])):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(ValueError, match=f"{name}: cannot be read as weights"):
            weight_files.read(tmp_path / name)
    torch.save([1, 2], tmp_path / "d.pth")
    with pytest.raises(ValueError, match="d.pth: holds no state_dict"):
        weight_files.read(tmp_path / "d.pth")


# ---- the joint model


def joint(sources: int = 1, **changes) -> JointAst:
    tail = AstTail(5, channels=sources + 1, **SMALL)
    return JointAst(UNet(sources, **UNET), tail, **{"inject": (2, 3, 4, 5, 6), **changes}).eval()


@pytest.mark.parametrize("sources", [1, 4])
def test_joint_transformer_begins_as_the_tail_alone(sources: int) -> None:
    """Stage 2 weights really arrive in stage 3: adapters zeroed and estimates silenced, it predicts as the tail."""
    torch.manual_seed(1)
    x = torch.rand(3, 64, 256)
    tail = AstTail(5, **SMALL).eval()
    module = joint(sources, start="zero")
    module.tail.load_state_dict(inflate(tail.state_dict(), module.tail, "mixture"))
    with torch.no_grad():
        torch.testing.assert_close(module(x), tail(x), rtol=1e-4, atol=1e-5)
        for adapter in module.adapters:
            adapter.weight.normal_()
        assert (module(x) - tail(x)).abs().max() > 1e-3


def test_adapters_start_as_the_resized_patch_kernel() -> None:
    module = joint(finest_first=True)
    kernel = torch.randn(WIDTH, 1, 16, 16)
    module.begin({"patch.weight": kernel})
    fine, _, _, _, coarse = module.adapters
    assert fine.kernel_size == (16, 32) and coarse.kernel_size == (1, 2)
    # Of 16 rows one is left, halfway between the middle two; of 16 columns two, at a quarter and three quarters.
    middle = kernel[:, :, 7:9].mean(2, keepdim=True)
    expected = torch.cat([middle[..., 3:5].mean(3, keepdim=True), middle[..., 11:13].mean(3, keepdim=True)], 3)
    torch.testing.assert_close(coarse.weight, expected.expand(-1, 3, -1, -1) / 3)
    # Twice the columns: each new one lies a quarter of the way to its neighbour.
    inner = 0.75 * kernel[..., 4] + 0.25 * kernel[..., 3]
    torch.testing.assert_close(fine.weight[..., 8], inner.expand(-1, 2, -1) / 2)
    assert all(adapter.bias.abs().max() == 0 for adapter in module.adapters)


def test_each_map_becomes_the_tail_s_grid() -> None:
    module = joint()
    shapes = []
    for adapter in module.adapters:
        adapter.register_forward_hook(lambda m, i, out: shapes.append((tuple(i[0].shape[1:]), tuple(out.shape[1:]))))
    with torch.no_grad():
        assert module(torch.rand(2, 64, 256)).shape == (2, 5)
    assert shapes == [
        ((2, 64, 256), (WIDTH, 4, 8)),
        ((2, 32, 128), (WIDTH, 4, 8)),
        ((2, 16, 64), (WIDTH, 4, 8)),
        ((3, 8, 32), (WIDTH, 4, 8)),
        ((3, 4, 16), (WIDTH, 4, 8)),
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: joint(inject=(1, 2, 3, 4, 5, 6)), "'inject' names at most five of the tail's blocks 1 to 6"),
        (lambda: joint(inject=(3, 2)), "in rising order"),
        (lambda: joint(inject=(2, 7)), "blocks 1 to 6"),
        (lambda: joint(start="pach"), "no start of the adapters 'pach'; did you mean 'patch'"),
        (lambda: AstTail(5, frames=100), "a multiple of 16 frames, not 100; the nearest is 96"),
        (lambda: AstTail(5, width=50, heads=12), "'width' .50. must be a multiple of 'heads' .12."),
    ],
)
def test_impossible_transformers_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
