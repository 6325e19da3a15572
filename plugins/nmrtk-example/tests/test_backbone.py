from nmrtk.testing import check_invertible_backbone
from nmrtk_example.backbone import CouplingBackbone


def test_contract():
    check_invertible_backbone(CouplingBackbone)
