import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pyro_ssl.errors import ConfigError
from pyro_ssl.nets import WideResNet


@pytest.mark.parametrize(
    ("depth", "width", "parameters"),
    # Table 4 of the paper, in millions: WRN-40-4 has 8.9, WRN-16-8 11.0, WRN-28-10 36.5.
    [(40, 4, 8.9), (16, 8, 11.0), (28, 10, 36.5)],
)
def test_it_is_as_large_as_in_the_paper(depth, width, parameters):
    with torch.device("meta"):
        network = WideResNet((3, 32, 32), 10, depth, width)
    found = sum(p.numel() for p in network.parameters()) / 1e6
    assert found == pytest.approx(parameters, abs=0.06)
    kernels = [m.kernel_size for m in network.modules() if isinstance(m, nn.Conv2d)]
    # With the linear layer, and two of the three convolutions that only change a shape.
    assert kernels.count((3, 3)) + 1 + 2 == depth
    assert kernels.count((1, 1)) == 3


def test_a_block_adds_to_its_input_what_two_convolutions_make_of_it():
    torch.manual_seed(0)
    network = WideResNet((2, 9, 8), 3, depth=16, width=1, channels=4).double().eval()
    block = network.blocks[1]
    assert block.shortcut is None
    hs = torch.randn(5, 4, 9, 8, dtype=torch.float64)
    scale = (1 + block.norms[0].eps) ** -0.5
    inner = F.conv2d((scale * hs).relu(), block.first.weight, padding=1)
    outer = F.conv2d((scale * inner).relu(), block.second.weight, padding=1)
    torch.testing.assert_close(block(hs), hs + outer)


def test_images_of_any_size_become_vectors():
    for shape, stride in (((1, 28, 28), 2), ((3, 32, 32), 1), ((2, 7, 5), 1)):
        network = WideResNet(shape, 4, width=1, channels=2, stride=stride, dropout=0.1)
        assert network(torch.rand(3, *shape)).shape == (3, 4)


@pytest.mark.parametrize("depth", [4, 12, 27])
def test_depths_between_those_of_whole_blocks_are_refused(depth):
    with pytest.raises(ConfigError, match=f"depth is {depth}, expected 6 n"):
        WideResNet((1, 8, 8), 2, depth)


def test_only_images_are_taken():
    with pytest.raises(ConfigError, match=r"input_shape is \(8,\)"):
        WideResNet((8,), 2)
