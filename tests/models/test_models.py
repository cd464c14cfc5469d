"""Architectures against the published layer tables."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
from torch.nn import functional

from mss_core import models
from mss_core.models.unet import UNet, separate
from mss_core.systems.msspt.ast_tail import AstTail
from mss_core.systems.msspt.cnn_tail import CnnTail
from mss_core.systems.msspt.joint import JointAst, JointCnn, inflate

SMALL = (2, 3, 4, 5, 6, 7)
AST = {"frames": 384, "width": 8, "depth": 2, "heads": 2, "hidden": 12}
RELEASED = (64, 128, 128, 128, 128, 128, 256)
WIDE = (16, 16, 16, 24, 24, 24, 32)


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


@pytest.mark.parametrize(
    ("module", "parameters"),
    [
        (lambda: UNet(), 3_921_061),
        (lambda: UNet(sources=4), 3_921_928),
        (lambda: CnnTail(50), 2_396_530),
        (lambda: CnnTail(16), 2_379_088),
        (lambda: JointCnn(UNet(), CnnTail(50, channels=2)), 6_390_359),
        (lambda: JointCnn(UNet(4), CnnTail(50, channels=5)), 6_392_954),
        (lambda: JointCnn(UNet(), CnnTail(50, channels=2)).adapters, 72_192),
        (lambda: JointCnn(UNet(), CnnTail(50, 2, RELEASED), adapt="concat"), 7_240_151),
        (lambda: JointCnn(UNet(), CnnTail(16, 2, RELEASED), adapt="concat"), 7_222_709),
        (lambda: JointCnn(UNet(4), CnnTail(16, 5, RELEASED), adapt="concat"), 7_225_304),
        (lambda: AstTail(50, 1), 85_588_274),
        (lambda: AstTail(50, 2), 85_784_882),
        (lambda: AstTail(50, 5), 86_374_706),
        (lambda: AstTail(50, 1, head_norm=True), 85_589_810),
        (lambda: AstTail(50, 2, head_norm=True), 85_786_418),
        (lambda: AstTail(50, 5, head_norm=True), 86_376_242),
        (lambda: JointAst(UNet(), AstTail(50, 2)).adapters, 12_095_232),
        (lambda: JointAst(UNet(), AstTail(50, 2)), 3_921_061 + 85_784_882 + 12_095_232),
        (lambda: JointAst(UNet(4), AstTail(50, 5)), 3_921_928 + 86_374_706 + 12_095_232),
    ],
)
def test_parameter_counts(module, parameters: int) -> None:
    with torch.device("meta"):
        assert count(module()) == parameters


def test_each_adapter_of_the_transformer_has_its_published_size() -> None:
    with torch.device("meta"):
        joint = JointAst(UNet(), AstTail(50, 2))
    assert [count(adapter) for adapter in joint.adapters] == [6_292_224, 3_146_496, 1_573_632, 787_200, 295_680]
    assert [adapter.kernel_size for adapter in joint.adapters] == [(16, 32), (8, 16), (4, 8), (2, 4), (1, 2)]
    with torch.device("meta"):
        other = JointAst(UNet(), AstTail(50, 2), inject=(2, 4, 6, 8, 10), finest_first=False)
    assert other.blocks == (1, 3, 5, 7, 9) and other.adapters[0].kernel_size == (1, 2)


def test_full_size_tails_have_twice_the_widths() -> None:
    from mss_core.systems.msspt import FULL_TAIL

    with torch.device("meta"):
        half, full = CnnTail(50), CnnTail(50, widths=FULL_TAIL)
        joint = JointCnn(UNet(), CnnTail(50, channels=2, widths=FULL_TAIL))
    assert [2 * width for width in half.widths] == list(full.widths)
    assert [adapter.out_channels for adapter in joint.adapters] == [128, 128, 256, 256, 256]
    pairs = zip((1, *FULL_TAIL[:-1]), FULL_TAIL, strict=True)
    blocks = sum(9 * i * o + o + 2 * o + 9 * o * o + o + 2 * o for i, o in pairs)
    assert count(full) == blocks + 1024 * 512 + 512 + 1024 + 512 * 50 + 50


def test_batch_norm_statistics_of_the_separator() -> None:
    buffers = [b for name, b in UNet().named_buffers() if "running" in name]
    assert sum(b.numel() for b in buffers) == 4_708


def test_shapes_of_every_block() -> None:
    net = UNet().eval()
    x = torch.rand(1, 384, 256)
    with torch.no_grad():
        masks, decoder = net.features(x)
    assert masks.shape == (1, 1, 384, 256) and 0 <= masks.min() and masks.max() <= 1
    assert [tuple(d.shape[1:]) for d in decoder] == [
        (192, 12, 8),
        (192, 24, 16),
        (128, 48, 32),
        (64, 96, 64),
        (32, 192, 128),
        (16, 384, 256),
    ]


def shapes_after(blocks: Iterable[torch.nn.Module]) -> list[tuple[int, ...]]:
    """A list that is filled with the shape (channel, frame, bin) that leaves each block, as they run."""
    found: list[tuple[int, ...]] = []
    for block in blocks:
        block.register_forward_hook(lambda module, inputs, output: found.append(tuple(output.shape[1:])))
    return found


def test_shapes_of_every_block_of_the_encoder() -> None:
    net = UNet().eval()
    before = shapes_after(net.encoder)
    after = shapes_after([net.pool])  # one module, met at every level
    with torch.no_grad():
        net(torch.rand(1, 384, 256))
    assert before == [(16, 384, 256), (32, 192, 128), (64, 96, 64), (128, 48, 32), (192, 24, 16), (192, 12, 8)]
    assert after == [(16, 192, 128), (32, 96, 64), (64, 48, 32), (128, 24, 16), (192, 12, 8), (192, 6, 4)]
    sizes = [2_514, 13_984, 55_616, 221_824, 553_984, 664_704]
    assert [sum(p.numel() for p in block.parameters()) for block in net.encoder] == sizes


def test_shapes_of_every_block_of_the_tail() -> None:
    tail = CnnTail(classes=50, widths=(64, 64, 128, 128, 128, 128, 256), dense=512).eval()
    found = shapes_after(tail.blocks)
    with torch.no_grad():
        assert tail.log_mel(torch.rand(1, 384, 256)).shape == (1, 384, 128)
        assert tail(torch.rand(1, 384, 256)).shape == (1, 50)
    assert found == [(64, 192, 64), (64, 96, 32), (128, 48, 16), (128, 24, 8), (128, 12, 4), (128, 6, 2), (256, 2, 1)]
    sizes = [37_824, 74_112, 221_952, 295_680, 295_680, 295_680, 886_272]
    assert [sum(p.numel() for p in block.parameters()) for block in tail.blocks] == sizes
    assert sum(p.numel() for p in tail.head.parameters()) == 262_656 + 1_024 + 25_650


def straight_line(net: UNet, magnitude: torch.Tensor) -> torch.Tensor:
    """The layer table of the separator, written out once more, from its state alone."""
    state = net.state_dict()

    def block(name: str, x: torch.Tensor) -> torch.Tensor:
        for half in ("0", "1"):
            at = f"{name}.{half}"
            x = functional.batch_norm(
                x,
                state[f"{at}.0.running_mean"],
                state[f"{at}.0.running_var"],
                state[f"{at}.0.weight"],
                state[f"{at}.0.bias"],
                eps=1e-3,
            )
            x = torch.where(x > 0, x, 0.01 * x)
            x = functional.conv2d(x, state[f"{at}.2.weight"], state[f"{at}.2.bias"], padding=1)
        return x

    skip0 = (magnitude + 1e-4).log10()[:, None]
    x, skips = skip0, []
    for level in range(6):
        x = functional.max_pool2d(block(f"encoder.{level}", x), 2)
        skips.append(x)
    for level in range(6):
        if level:
            x = torch.cat([x, skips[5 - level]], 1)
        x = functional.conv_transpose2d(x, state[f"up.{level}.weight"], state[f"up.{level}.bias"], stride=2)
        x = block(f"decoder.{level}", x)
    x = block("post", torch.cat([x, skip0], 1))
    return functional.conv2d(x, state["mask.weight"], state["mask.bias"], padding=1).sigmoid()


def test_separator_equals_a_straight_line_computation() -> None:
    torch.manual_seed(0)
    net = UNet(widths=SMALL, post=5).eval()
    for name, buffer in net.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
    x = torch.rand(2, 128, 64)
    with torch.no_grad():
        torch.testing.assert_close(net(x), straight_line(net, x), rtol=1e-5, atol=1e-6)


def test_a_mask_of_ones_returns_the_mixture_away_from_the_edges() -> None:
    mixture = torch.randn(1, 61_792)
    estimate = separate(lambda x: torch.ones(1, 1, *x.shape[1:]), mixture)
    torch.testing.assert_close(estimate[0, :, 400:-400], mixture[:, 400:-400], rtol=0, atol=1e-5)


def test_joint_model_begins_as_the_tail_alone() -> None:
    """Stage 2 weights really arrive in stage 3: adapters at zero, the joint tail predicts as the tail alone."""
    torch.manual_seed(1)
    x = torch.rand(3, 384, 256)
    tail = CnnTail(7, widths=WIDE, dense=9, bn_momentum=1.0)
    with torch.no_grad():
        tail(x)  # settles the batch statistics
    tail.eval()
    joint = JointCnn(UNet(widths=SMALL, post=3), CnnTail(7, channels=2, widths=WIDE, dense=9)).eval()
    joint.tail.load_state_dict(inflate(tail.state_dict(), joint.tail, "mixture"))
    with torch.no_grad():
        for adapter in joint.adapters:
            adapter.bias.fill_(1.0)
        assert (joint(x) - tail(x)).abs().max() > 0.1
        for adapter in joint.adapters:
            adapter.weight.zero_()
            adapter.bias.zero_()
        torch.testing.assert_close(joint(x), tail(x), rtol=1e-4, atol=1e-5)


def test_replicated_inflation_keeps_the_response_to_equal_channels() -> None:
    tail = CnnTail(3, channels=5, widths=SMALL + (4,), dense=5)
    kernel = {"blocks.0.0.weight": torch.randn(2, 1, 3, 3)}
    new = inflate(kernel, tail, "replicate")["blocks.0.0.weight"]
    torch.testing.assert_close(new.sum(1, keepdim=True), kernel["blocks.0.0.weight"])
    own = tail.blocks[0][0].weight.detach()
    torch.testing.assert_close(inflate(kernel, tail, "random")["blocks.0.0.weight"], own)
    with pytest.raises(ValueError, match="no inflation 'mixtur'; did you mean 'mixture'"):
        inflate(kernel, tail, "mixtur")


@pytest.mark.parametrize(
    "described",
    [
        {"name": "unet", "sources": 2, "widths": SMALL, "post": 3},
        {"name": "cnn_tail", "classes": 3, "widths": SMALL + (4,), "dense": 5},
        {
            "name": "joint_cnn",
            "separator": {"name": "unet", "widths": SMALL, "post": 3},
            "tail": {"name": "cnn_tail", "classes": 3, "channels": 2, "widths": SMALL + (4,), "dense": 5},
        },
        {
            "name": "joint_cnn",
            "adapt": "concat",
            "separator": {"name": "unet", "widths": SMALL, "post": 3},
            "tail": {"name": "cnn_tail", "classes": 3, "channels": 2, "widths": SMALL + (4,), "dense": 5},
        },
        {"name": "ast_tail", "classes": 3, **AST},
        {
            "name": "joint_ast",
            "inject": (1, 2),
            "separator": {"name": "unet", "widths": SMALL, "post": 3},
            "tail": {"name": "ast_tail", "classes": 3, "channels": 2, **AST},
        },
    ],
    ids=lambda d: d["name"],
)
def test_saved_models_come_back_and_have_gradients(described, tmp_path) -> None:
    module = models.build(described)
    x = torch.rand(2, 384, 256)
    module(x).sum().backward()
    idle = [name for name, p in module.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    # The finest decoder block of a joint model reaches the loss through the masks only; none may be left out.
    assert not idle
    models.save(tmp_path, described, module)
    with torch.no_grad():
        torch.testing.assert_close(models.load(tmp_path)(x), module.eval()(x))


def test_model_descriptions_hold_every_default() -> None:
    assert models.model("unet")["widths"] == (16, 32, 64, 128, 192, 192)
    assert "sources" not in models.model("unet")
    with pytest.raises(ValueError, match="model 'unet' has no argument 'width'; did you mean 'widths'"):
        models.model("unet", width=3)
    with pytest.raises(ValueError, match="no model 'unnet'; did you mean 'unet'"):
        models.model("unnet")


@pytest.mark.parametrize("sources", [1, 4])
def test_joined_by_concatenation_it_begins_as_the_tail_alone_too(sources: int) -> None:
    torch.manual_seed(1)
    x = torch.rand(2, 384, 256)
    tail = CnnTail(7, widths=WIDE, dense=9, bn_momentum=1.0)
    with torch.no_grad():
        tail(x)
    tail.eval()
    wide = CnnTail(7, channels=sources + 1, widths=WIDE, dense=9)
    joint = JointCnn(UNet(sources, widths=SMALL, post=3), wide, adapt="concat").eval()
    joint.tail.load_state_dict(inflate(tail.state_dict(), joint.tail, "mixture"))
    # Block 2 reads 16 channels of its own and the 3 of the second finest map, block 6 the 7 of the coarsest.
    assert [block[0].in_channels for block in joint.tail.blocks] == [sources + 1, 19, 20, 21, 30, 31, 24]
    with torch.no_grad():
        torch.testing.assert_close(joint(x), tail(x), rtol=1e-4, atol=1e-5)
        joint.tail.blocks[1][0].weight[:, 16:].fill_(0.5)
        assert (joint(x) - tail(x)).abs().max() > 1e-3


def test_the_number_of_joined_maps_is_a_switch() -> None:
    def joined(skips: int) -> list[int]:
        joint = JointCnn(UNet(widths=SMALL, post=3), CnnTail(3, 2, WIDE, dense=5), skips=skips)
        got: dict[int, torch.Tensor] = {}
        joint.tail.classify = lambda spectra, additions, concatenate: got.update(additions)
        joint(torch.rand(1, 384, 256))
        assert [tuple(got[block].shape[2:]) for block in sorted(got)] == [
            (384 >> block, 128 >> block) for block in sorted(got)
        ]
        return sorted(got)

    assert [joined(skips) for skips in (0, 1, 3, 5, 6)] == [[], [1], [1, 2, 3], [1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]]
    with pytest.raises(ValueError, match="'skips' is a number of decoder maps from 0 to 6, not 7"):
        joined(7)
    with pytest.raises(ValueError, match="no adaptation 'add'"):
        JointCnn(UNet(widths=SMALL), CnnTail(3, 2, WIDE), adapt="add")
    with pytest.raises(ValueError, match="no start of the adapters 'patch'"):
        JointCnn(UNet(widths=SMALL), CnnTail(3, 2, WIDE), start="patch")


@pytest.mark.parametrize("mel_of_log", [False, True])
def test_what_the_joint_tail_hears(mel_of_log: bool) -> None:
    """The masked magnitudes and, last, the mixture, of which the released code takes mel bands of the log."""
    torch.manual_seed(0)
    joint = JointCnn(UNet(4, widths=SMALL, post=3), CnnTail(3, 5, WIDE, dense=5), mel_of_log=mel_of_log).eval()
    x = torch.rand(1, 384, 256)
    heard = []
    joint.tail.classify = lambda spectra, additions, concatenate: heard.append(spectra)
    with torch.no_grad():
        joint(x)
        masks = joint.separator(x)[0]
    mel = joint.tail.mel
    expected = [((mask * x[0]) @ mel + 1e-4).log10() for mask in masks]
    expected.append((x[0] + 1e-4).log10() @ mel if mel_of_log else (x[0] @ mel + 1e-4).log10())
    torch.testing.assert_close(heard[0][0], torch.stack(expected), rtol=1e-5, atol=1e-5)


def test_average_pooling_is_a_switch() -> None:
    assert count(UNet(pooling="average")) == count(UNet())
    with pytest.raises(ValueError, match="no pooling 'mean'"):
        UNet(pooling="mean")
