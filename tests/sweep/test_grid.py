import pytest

from nvv.sweep.grid import GridError, is_choice, read_grid


def test_products_run_over_lists_with_the_last_field_fastest(write_grid):
    block = {"backbone": ["a", "b"], "method": "lora", "seed": [1, 2]}
    (read,) = read_grid(write_grid(blocks=[block])).blocks
    assert [(own["backbone"], own["method"], own["seed"]) for own in read.products()] == [
        ("a", "lora", 1),
        ("a", "lora", 2),
        ("b", "lora", 1),
        ("b", "lora", 2),
    ]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("seed", [1, 2], True),
        ("seed", 1, False),
        ("tuned_layers", [0, 1], False),  # a field that takes a list: one value
        ("tuned_layers", [[0], [1]], True),
        ("tuned_layers", [[0, 1], None], True),
        ("weight_decays", [0.0, 0.1], False),
        ("weight_decays", [[0.0], [0.1]], True),
        ("lora_target_modules", ["fc1"], False),
        ("features", ["mfcc", "egemaps"], True),  # in a grid a baseline run has one set of features
        ("random_init", [True, False], True),
    ],
)
def test_list_is_a_choice_or_one_value(name, value, expected):
    assert is_choice(name, value) is expected


def test_files_lie_under_common_and_under_their_block(write_grid, tmp_path):
    (tmp_path / "options").mkdir()
    (tmp_path / "options" / "short.yaml").write_text("num_train_epochs: 3\n")
    (tmp_path / "long.yaml").write_text("num_train_epochs: 9\n")
    grid = read_grid(write_grid(files=["options/short.yaml"], blocks=[{"files": ["long.yaml"], "seed": 1}]))
    assert [(layer.name, dict(layer.values)) for layer in (*grid.layers, *grid.blocks[0].layers)] == [
        ("options/short.yaml", {"num_train_epochs": 3}),
        ("common", {}),
        ("long.yaml", {"num_train_epochs": 9}),
    ]


def test_option_file_is_found_in_a_folder_above_the_grid(tmp_path):
    (tmp_path / "recipes" / "grids").mkdir(parents=True)
    (tmp_path / "recipes" / "options.yaml").write_text("seed: 5\n")
    file = tmp_path / "recipes" / "grids" / "one.yaml"
    file.write_text("files: [recipes/options.yaml]\nblocks: [{method: lora}]\n")
    assert read_grid(file).layers[0].values == {"seed": 5}


def test_name_is_the_files_where_none_is_given(tmp_path):
    (tmp_path / "mine.yaml").write_text("blocks: [{seed: 1}]\n")
    assert read_grid(tmp_path / "mine.yaml").name == "mine"


def test_content_leaves_out_where_things_are(write_grid):
    grid = read_grid(write_grid(data_dirs={"vivae": "/secret/place"}, common={"corpus": "vivae"}))
    assert grid.data_dirs == {"vivae": "/secret/place"}
    assert "secret" not in str(grid.content)
    assert grid.content["common"] == {"corpus": "vivae"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"block": []}, r"there is no 'block' here. Did you mean 'blocks'\?"),
        ({"common": {"backbon": "x"}}, r"common: there is no 'backbon' here. Did you mean 'backbone'\?"),
        (
            {"blocks": [{"seed": 1}, {"lora_ranks": 4}]},
            r"block 2: there is no 'lora_ranks' here. Did you mean 'lora",
        ),
        ({"blocks": []}, "blocks: expected a list of blocks"),
        ({"blocks": ["lora"]}, "block 1: expected `key: value` lines, found str"),
        ({"blocks": [{"seed": []}]}, "block 1: seed: expected a value or a list of values, found an empty list"),
        ({"blocks": [{"recipe": "test"}]}, "block 1: recipe: expected one of probe, train, baseline; found 'test'"),
        ({"blocks": [{"output_dir": "x"}]}, "block 1: output_dir: not in a grid; every run has its folder"),
        ({"common": {"data_dir": "x"}}, "data_dir: not in a grid; say data_dirs"),
        ({"name": "two words"}, "name: expected one word"),
        ({"files": "x.yaml"}, "files: expected a list of YAML files"),
        ({"report": {"metric": "loss"}}, "report: metric: expected one of .* found 'loss'"),
    ],
)
def test_grid_is_refused_naming_the_place(write_grid, content, message):
    with pytest.raises(GridError, match=message):
        read_grid(write_grid(**content))


def test_unknown_field_of_an_option_file_names_the_file(write_grid, tmp_path):
    (tmp_path / "options.yaml").write_text("epochs: 3\n")
    with pytest.raises(GridError, match=r"options.yaml: there is no 'epochs' here"):
        read_grid(write_grid(files=["options.yaml"]))


def test_missing_files_are_named(write_grid, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.yaml: no such YAML file"):
        read_grid(tmp_path / "nowhere.yaml")
    with pytest.raises(FileNotFoundError, match=r"files: nowhere.yaml is neither in .* nor in a folder above it"):
        read_grid(write_grid(files=["nowhere.yaml"]))


def test_text_that_is_no_yaml_is_refused(tmp_path):
    (tmp_path / "broken.yaml").write_text("blocks: [")
    with pytest.raises(GridError, match=r"broken.yaml: not readable as YAML"):
        read_grid(tmp_path / "broken.yaml")
