from nmrtk_example.backbone import CouplingBackbone

from nmrtk.testing import check_invertible_backbone


def test_contract():
    check_invertible_backbone(CouplingBackbone)
