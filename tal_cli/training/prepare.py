"""Prepares a training run from the options of `tal train`: data, recipe and run folder, checked before training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from tal_cli import console
from tal_cli.datasets.catalog import BENCHMARKS
from tal_cli.datasets.splits import HELD_OUT
from tal_cli.datasets.training_data import FeatureVideo, resampled
from tal_cli.devices import resolve_device
from tal_cli.evaluation.behaviour.points import point_labels
from tal_cli.extractors.backbones import resolve
from tal_cli.extractors.errors import RecipeError, UnknownExtractor, UsageError
from tal_cli.extractors.files.atomic import leftovers, naming, sweep
from tal_cli.models.recipe.features import FeatureSpec
from tal_cli.models.recipe.loading import list_recipes, load_recipe, override
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.store.checkpoint import check_labels
from tal_cli.results.output_paths import check_folder
from tal_cli.results.run_videos import RUN_RECORD
from tal_cli.safe_text import counted
from tal_cli.training.auto_recipe import data_shape, derive_recipe, summary
from tal_cli.training.data import (
    TrainingData,
    check_ground_truth,
    feature_spec,
    find_data,
    load_subsets,
    name_of,
)
from tal_cli.training.distributed import join
from tal_cli.training.options import TrainingOptions
from tal_cli.training.run import TrainingRun
from tal_cli.training.state import FILE, FOLDER, initial_weights, videos_before
from tal_cli.training.trackers import open_tracker
from tal_cli.training.tuning.frames import FrameStore, video_paths
from tal_cli.training.validation.folds import FOLDS
from tal_cli.training.validation.labels import doubts
from tal_cli.tuned import base_settings, outline_of

NAMED = 12  # held-out videos are listed up to this number, else only counted
ONE_LABEL = "action"  # label of class-agnostic detectors


def prepare(options: TrainingOptions) -> TrainingRun:
    """Find and check everything that a run needs before training begins.

    Raises:
        MissingError: no annotations or no features.
        UsageError: unknown names, features that do not fit the recipe, a folder that is in use.
        InputError: a file that cannot be read, an empty subset, an unknown label, features that are not finite.
        CheckpointError: labels that cannot be stored.
    """
    if options.precision == "fp16":
        raise UsageError("--precision fp16: training would lose small gradients", "use fp32 or bf16")
    processes = join(options.device)
    console.set_quiet(console.is_quiet() or not processes.leads)
    device = processes.device or resolve_device(options.device)
    out = processes.agree(run_folder(options) if processes.leads else None)
    initial = initial_weights(options.init)
    if options.folds is not None and options.test_subset is not None:
        raise UsageError("--folds and --test-subset cannot be used together: every video is held out once")
    data = find_data(
        options.dataset,
        options.features,
        options.train_subset,
        options.test_subset,
        holds_out=options.folds is None,
    )
    recipe = choose_recipe(options, data)
    spec = recipe.features if recipe is not None else feature_spec(data, options.recipe_overrides)
    check_ground_truth(data, speak=processes.leads)
    if recipe is not None and recipe.training.class_agnostic:
        data = replace(data, annotations=data.annotations.with_one_label(ONE_LABEL))
    videos, validation = load_subsets(data, spec, speak=processes.leads)
    check_instances(videos, data.train, options.folds)
    if recipe is None:
        recipe = derive(options, out.resolve().name, data, spec, videos, speak=processes.leads)
    if points := point_labels([video.annotation for video in videos]):
        recipe = override(recipe, {"inference.points": points, **options.recipe_overrides})
    if recipe.contrast_epochs and processes.count > 1:
        raise UsageError(
            "model.decoder.contrast_epochs compares all videos of a batch, which several processes share",
            "train in one process, or --set model.decoder.contrast_epochs=0",
        )
    recipe = tuning_recipe(recipe, options)
    paths = videos_to_tune_on(recipe, [*videos, *validation], options)
    if recipe.model.resample:
        videos = [resampled(video, recipe) for video in videos]
    check_labels(data.annotations.labels, recipe.model.classes, str(data.path))
    try:
        recipe.inference.check_labels(data.annotations.labels)
    except ValueError as error:
        raise RecipeError(f"recipe {recipe.name}: {error}", f"{data.path} has other labels") from error
    describe(data, recipe, videos, validation, out, options.folds)
    for line in doubts(data.annotations.labels, videos, validation, folds=options.folds is not None):
        console.warn(line)
    if processes.leads:
        make_folder(out)
    frames = None
    if paths is not None:
        frames = FrameStore(out / FOLDER / "frames", recipe.features.contract(), paths)
        if processes.leads:
            with console.progress("decoding videos", len(paths), "videos") as progress:
                frames.prepare(progress)
        processes.agree(None)  # all wait for the frames
        frames.check([*videos, *validation])
    return TrainingRun(
        recipe=recipe,
        labels=data.annotations.labels,
        videos=videos,
        validation=validation,
        out=out,
        tiou=data.tiou,
        device=device,
        evaluate_every=options.evaluate_every,
        precision=options.precision,
        threads=options.threads,
        resume=options.resume,
        initial=initial,
        options=options,
        trained_before=videos_before(options.init, out if options.resume else None),
        tracker=open_tracker(options.log, out, options.resume) if processes.leads else None,
        processes=processes,
        folds=options.folds,
        frames=frames,
    )


def tuning_recipe(recipe: Recipe, options: TrainingOptions) -> Recipe:
    """The recipe with what `--end-to-end` says of the backbone: adapters, if the recipe says nothing.

    Raises UsageError if the backbone is to be trained and to stay as it is.
    """
    changes: dict[str, object] = {}
    if options.end_to_end and not recipe.backbone.tunes:
        if "backbone.tuning" in options.overrides:
            raise UsageError(
                "--end-to-end trains the backbone, --set backbone.tuning=frozen does not", "leave out one of them"
            )
        changes["backbone.tuning"] = "adapter"
    if (options.end_to_end or recipe.backbone.tunes) and recipe.backbone.chunk is None and recipe.features.chunk:
        changes["backbone.chunk"] = recipe.features.chunk
    return override(recipe, changes)


def videos_to_tune_on(
    recipe: Recipe, videos: Sequence[FeatureVideo], options: TrainingOptions
) -> dict[str, Path] | None:
    """Files of the videos, if the backbone is trained; None if it is not.

    Raises:
        UsageError: videos that nothing reads, features of other weights than those on this machine.
        SettingsError: a backbone that cannot be trained, or not so.
        MissingError: the videos, or the backbone's weights.
    """
    if not recipe.backbone.tunes:
        if options.videos is not None:
            raise UsageError("--videos: the backbone is not trained", "add --end-to-end")
        return None
    name = recipe.features.extractor
    try:
        found = resolve(name, settings=base_settings(recipe)).contract
    except UnknownExtractor as error:
        raise UsageError(
            f"--end-to-end: the features are of {name!r}, which is no backbone that can be trained",
            "leave it out, or extract features with a dense extractor such as videomae-s-dense",
        ) from error
    differences = recipe.features.differences(replace(found, chunk=None, overlap=None))
    if differences:
        raise UsageError(
            f"the features are not those of the backbone that would be trained: {'; '.join(differences)}",
            "extract them again with `tal extract-features`",
        )
    outline_of(recipe)  # raises before any video is decoded
    return video_paths(videos, options.videos)


def choose_recipe(options: TrainingOptions, data: TrainingData) -> Recipe | None:
    """The given recipe, or the data set's default one, with overrides; None if a recipe has to be derived.

    It gets as many classes as the annotations have, unless it is class-agnostic.
    """
    name = options.recipe or (data.recipe if data.recipe in list_recipes() else None)
    if name is None:
        return None
    recipe = override(load_recipe(name), options.recipe_overrides)
    labels = (ONE_LABEL,) if recipe.training.class_agnostic else data.annotations.labels
    if recipe.model.classes != (classes := len(labels)):
        console.note(f"the recipe has {recipe.model.classes} classes, the annotations have {classes}: using {classes}")
    fitted = recipe.inference.bounded_by(labels)
    if fitted != recipe.inference and not any(key.startswith("inference.boundary") for key in options.recipe_overrides):
        console.note("the annotations lack labels of the recipe's inference.boundary: leaving it out")
        recipe = recipe.model_copy(update={"inference": fitted})
    return override(recipe, {"model.classes": classes, **options.recipe_overrides})


def derive(
    options: TrainingOptions,
    name: str,
    data: TrainingData,
    spec: FeatureSpec,
    videos: Sequence[FeatureVideo],
    *,
    speak: bool,
) -> Recipe:
    """A recipe derived for these videos, with overrides; the derivation is printed if `speak`.

    Raises:
        UsageError: overrides that contradict the features, or change the classes.
    """
    shape = data_shape(videos)
    recipe = override(derive_recipe(name, spec, shape, len(data.annotations.labels)), options.recipe_overrides)
    if recipe.features != spec:
        raise UsageError("--set features: without a recipe, feature settings are read from the files")
    if recipe.training.class_agnostic:
        raise UsageError(
            "--set training.class_agnostic: a derived recipe has one class per label",
            "write a class-agnostic recipe, and choose it with --recipe",
        )
    for line in summary(recipe, shape) if speak else ():
        console.note(line)
    return recipe


def make_folder(out: Path) -> None:
    """Create the run's folder and remove partial files of an interrupted run."""
    with naming(out):
        out.mkdir(parents=True, exist_ok=True)
    for folder in (out, out / FOLDER, *out.glob(f"{FOLDS}/*"), *out.glob(f"{FOLDS}/*/{FOLDER}")):
        sweep(file for files in leftovers(folder).values() for file in files)


def check_instances(videos: Sequence[FeatureVideo], subset: str, folds: int | None) -> None:
    """Raise UsageError if there is no instance to train on, or none for each fold."""
    filled = sum(bool(len(video.labels)) for video in videos)
    if not filled:
        raise UsageError(f"subset {subset!r} has no instance to train on", "name another with --train-subset")
    if folds is not None and folds > filled:
        raise UsageError(
            f"--folds {folds}: instances are in only {counted(filled, 'video')}", "choose no more folds than that"
        )


def run_folder(options: TrainingOptions) -> Path:
    """The run's folder: `--output`, or `runs/NAME-DATE`; when resuming without `--output`, the newest of that name.

    Raises:
        UsageError: the folder contains another run, or there is none to resume.
    """
    name = options.dataset if options.dataset in BENCHMARKS else name_of(Path(options.dataset))
    out = options.output
    if out is None and options.resume:
        found = [run for run in Path("runs").glob(f"{name}-*") if states(run)]
        if not found:
            raise UsageError(f"no run of {name} in runs/ to resume", "give the run folder with --output")
        out = max(found, key=lambda run: max(path.stat().st_mtime for path in states(run)))
    out = out or Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    check_folder(out)
    if not options.resume and states(out):
        raise UsageError(f"{out} already contains a run", "continue it with --resume, or choose another --output")
    return out


def states(run: Path) -> list[Path]:
    """The saved states in a run folder: of the run, and of its folds."""
    return [*run.glob(f"{FOLDER}/{FILE}"), *run.glob(f"{FOLDS}/*/{FOLDER}/{FILE}")]


def describe(
    data: TrainingData,
    recipe: Recipe,
    videos: Sequence[FeatureVideo],
    validation: Sequence[FeatureVideo],
    out: Path,
    folds: int | None,
) -> None:
    """Print the data and the evaluation of the run."""
    instances = sum(len(video.labels) for video in videos)
    total, warmup = recipe.training.epochs + recipe.training.warmup_epochs, recipe.training.warmup_epochs
    if warmup:
        console.note(
            f"{counted(total, 'epoch')}: {warmup} of warm-up (training.warmup_epochs) and {total - warmup} more"
        )
    taught = f"{counted(instances, 'instance')} of {counted(recipe.model.classes, 'label')}"
    console.note(f"{counted(len(videos), 'video')} in {data.train} with {taught}")
    if validation:
        kept = "keeping the best epoch" if recipe.training.select == "best-test" else "keeping the last epoch"
        names = f": {', '.join(video.annotation.name for video in validation)}" if len(validation) <= NAMED else ""
        console.note(f"evaluating on {counted(len(validation), 'video')} in {data.test}; {kept}")
        console.note(f"held out{names}; recorded in {out / RUN_RECORD}, for `tal eval --subset {HELD_OUT}`")
    elif folds is not None:
        console.note(
            f"{folds} folds: as many detectors, each evaluated on the videos that it is not trained on, then one"
        )
    else:
        console.note("no subset to evaluate on; the model of the last epoch is the result")
    if len(videos) < recipe.training.batch_size:
        console.note(f"fewer videos than the batch size {recipe.training.batch_size}: using batches of {len(videos)}")
