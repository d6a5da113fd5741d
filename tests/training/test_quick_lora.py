import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import Linear as LoraLinear
from torch import nn

from nvv.training.quick_lora import QuickLoraLinear, _MergedLinear, quicken_lora

INPUTS = torch.randn(2, 7, 12, generator=torch.Generator().manual_seed(1))


def _tuned(**options):
    """Two linears of 12 and 20 features with LoRA whose matrices are drawn, not zero."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 20), nn.GELU(), nn.Linear(20, 12, bias=False))
    model = get_peft_model(model, LoraConfig(**{"r": 3, "lora_alpha": 5, "target_modules": ["0", "2"], **options}))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            nn.init.normal_(parameter, std=0.3)
    return model.train()


def _quick(model):
    quick = copy.deepcopy(model)
    assert quicken_lora(quick) == 2
    return quick


def _gradients(model, inputs):
    inputs = inputs.clone().requires_grad_()
    model(inputs).square().sum().backward()
    found = {name: one.grad for name, one in model.named_parameters() if one.requires_grad}
    return {**found, "inputs": inputs.grad}


@pytest.fixture
def merged_calls(monkeypatch):
    """Counts how often the quick pass is taken."""
    calls = []
    apply = _MergedLinear.apply
    monkeypatch.setattr(_MergedLinear, "apply", lambda *inputs: calls.append(1) or apply(*inputs))
    return calls


def test_outputs_and_gradients_are_pefts_when_lora_is_plain(merged_calls):
    model = _tuned()
    quick = _quick(model)

    torch.testing.assert_close(quick(INPUTS), model(INPUTS), rtol=1e-5, atol=1e-5)
    expected, found = _gradients(model, INPUTS), _gradients(quick, INPUTS)

    assert len(merged_calls) == 4
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-4, msg=name)


def test_gradients_are_those_of_finite_differences():
    generator = torch.Generator().manual_seed(3)
    shapes = ((2, 3, 4), (5, 4), (5,), (2, 4), (5, 2))
    inputs, weight, bias, lora_a, lora_b = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes
    )
    for one in (inputs, lora_a, lora_b):
        one.requires_grad_()

    assert torch.autograd.gradcheck(_MergedLinear.apply, (inputs, weight, bias, lora_a, lora_b, 0.7))


@pytest.mark.parametrize(
    "options", [{"lora_dropout": 0.5}, {"use_dora": True}, {"lora_bias": True}], ids=lambda one: next(iter(one))
)
def test_layers_go_pefts_way_when_lora_is_not_plain(options, merged_calls):
    model = _tuned(**options)
    quick = _quick(model)

    torch.manual_seed(5)
    expected = model(INPUTS)
    torch.manual_seed(5)

    assert torch.equal(quick(INPUTS), expected)
    assert not merged_calls


def test_dropout_is_no_hindrance_when_the_model_is_evaluated(merged_calls):
    model = _tuned(lora_dropout=0.5).eval()
    torch.testing.assert_close(_quick(model)(INPUTS), model(INPUTS), rtol=1e-5, atol=1e-5)
    assert len(merged_calls) == 2


def test_layers_go_pefts_way_when_autocast_is_on(merged_calls):
    model = _tuned()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(_quick(model)(INPUTS), model(INPUTS))
    assert not merged_calls


def test_layers_go_pefts_way_when_adapters_are_disabled_merged_or_several(merged_calls):
    model = _tuned()
    quick = _quick(model)
    with quick.disable_adapter(), model.disable_adapter():
        assert torch.equal(quick(INPUTS), model(INPUTS))
    for one in (model, quick):
        one.add_adapter("second", LoraConfig(r=2, target_modules=["0", "2"]))
        one.base_model.set_adapter(["default", "second"])
    torch.testing.assert_close(quick(INPUTS), model(INPUTS))
    for one in (model, quick):
        one.merge_adapter()
    assert torch.equal(quick(INPUTS), model(INPUTS))
    assert not merged_calls


def test_names_and_saved_weights_stay_pefts(tmp_path):
    model = _tuned()
    quick = _quick(model)
    assert list(quick.state_dict()) == list(model.state_dict())
    assert all(isinstance(one, LoraLinear) for one in quick.modules() if isinstance(one, QuickLoraLinear))
    quick.save_pretrained(tmp_path)
    assert (tmp_path / "adapter_model.safetensors").is_file()


def test_nothing_is_changed_when_there_is_no_lora():
    assert quicken_lora(nn.Linear(3, 3)) == 0
