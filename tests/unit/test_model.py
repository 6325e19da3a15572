import pytest
import torch
from doubles import CountingEncoder, FewBins, Shear, small_model

from nmrtk.candidates import free_log_density
from nmrtk.errors import ConfigurationError
from nmrtk.formula import VECTOR_WIDTH
from nmrtk.model import ReversibleModel, formula_vectors
from nmrtk.molecule import parse_smiles
from nmrtk.nucleus import Nucleus

MOLECULES = [parse_smiles(s) for s in ("CCO", "c1ccccc1", "CC(=O)[O-].[Na+]", "O")]


@pytest.mark.parametrize("condition_width", [0, VECTOR_WIDTH])
def test_both_directions_meet(condition_width):
    model = small_model(condition_width)
    prediction = model.predict(MOLECULES)
    features = model.inverse(prediction.code, prediction.free, formula_vectors(MOLECULES))
    assert torch.allclose(features, prediction.features, atol=1e-5)


def test_prediction_does_not_depend_on_the_neighbours():
    model = small_model(VECTOR_WIDTH)
    together = model.predict(MOLECULES).code
    alone = torch.cat([model.predict([molecule]).code for molecule in MOLECULES])
    assert torch.allclose(together, alone, atol=1e-6)


def test_widths_are_checked_once():
    nucleus = Nucleus.parse("13C")
    with pytest.raises(ConfigurationError, match=r"maps 9 features .* have 8 and 4"):
        ReversibleModel(CountingEncoder(nucleus), FewBins(nucleus), Shear(9, 4, 0))


def test_nuclei_must_agree():
    encoder, codec = CountingEncoder(Nucleus.parse("31P")), FewBins(Nucleus.parse("13C"))
    with pytest.raises(ConfigurationError, match="31P.*13C"):
        ReversibleModel(encoder, codec, Shear(8, 4, 0))


class Stretch(Shear):
    """Stretches the free part by what the code of a row says."""

    def forward_with_log_det(self, features, condition=None):
        outputs = self.forward(features, condition)
        factor = outputs[:, :1]
        code, free = outputs.split([self.code_width, self.width - self.code_width], dim=1)
        log_det = self.log_scale.sum() + free.shape[1] * factor[:, 0]
        return torch.cat([code, free * factor.exp()], dim=1), log_det


class Silent(Shear):
    """Does not tell its determinant."""

    has_log_det = False


def test_density_knows_how_much_the_backbone_stretches():
    nucleus = Nucleus.parse("13C")
    torch.manual_seed(0)
    plain, stretched, silent = (
        ReversibleModel(CountingEncoder(nucleus), FewBins(nucleus), kind(8, 4, 0))
        for kind in (Shear, Stretch, Silent)
    )
    predictions = [model.predict(MOLECULES) for model in (plain, stretched, silent)]
    assert predictions[2].log_det is None
    for prediction in predictions:
        density = -0.5 * prediction.free.double().square().sum(1)
        if prediction.log_det is not None:
            density = density + prediction.log_det
        assert torch.allclose(torch.from_numpy(free_log_density(prediction)), density)
    assert predictions[1].log_det.std() > 1e-3
