from nmrtk_model_13c.model import Carbon13Model

import nmrtk
from nmrtk.model import formula_vectors
from nmrtk.molecule import parse_smiles
from nmrtk.testing import check_pretrained_model

# Shifts in CDCl3 as tables give them, in ppm.
KNOWN = {
    "CCO": [18.1, 58.3],
    "CC(C)=O": [30.9, 30.9, 207.1],
    "Cc1ccccc1": [21.5, 125.3, 128.2, 128.2, 129.0, 129.0, 137.9],
    "CC(=O)OCC": [14.2, 21.0, 60.5, 171.4],
}


def test_contract() -> None:
    check_pretrained_model(Carbon13Model)


def test_size_fits_a_package() -> None:
    assert Carbon13Model().weights().stat().st_size < 15e6


def test_known_compounds() -> None:
    spectra = nmrtk.load("13c").predict(list(KNOWN))
    for spectrum, shifts in zip(spectra, KNOWN.values(), strict=True):
        assert abs(spectrum.ppm - shifts).max() < 4.0, str(spectrum)


def test_round_trip() -> None:
    model = nmrtk.load("13c").model
    molecules = [parse_smiles(smiles) for smiles in KNOWN]
    prediction = model.predict(molecules)
    condition = formula_vectors(molecules)
    features = model.inverse(prediction.code, prediction.free, condition)
    assert (features - prediction.features).abs().max() < 1e-3
