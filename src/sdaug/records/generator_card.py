"""The model card of a generator: base, prompt, method, what it has seen, how faithful its images are."""

from huggingface_hub import ModelCardData

from sdaug.records.cards import UNKNOWN_LICENCE, UNMEASURED, base_on_hub, counts_of, fill_card, name_base
from sdaug.records.finished import BASE, Finished, Generator, Publication
from sdaug.records.markdown import code, plain, table
from sdaug.verdict.letters import Likeness
from sdaug.verdict.number_formats import number, percent, plural

SEEN_CHECKS = ("seen_photos", "unknown_photos")  # of audit_images: what generators may not have seen
NOTE = (
    "Recognized: the share of images that judges, trained on photos that no generator saw, take for the class. Kernel "
    "distance: how far images are from such photos, about 0 if they cannot be told apart. Copies: the share of images "
    "that are as near to a training photo as planted copies. They use test photos: choose nothing by them. Figures are "
    "of all generators of the class together unless they name the draw."
)


def generator_card(study: Finished, generator: Generator, publication: Publication) -> str:
    """The card of one generator, in Markdown."""
    prompt = study.concepts[generator.label].instance_prompt
    likeness = study.inputs.fidelity.classes.get(generator.label)
    return fill_card(
        "generator.md",
        _metadata(study, prompt, publication),
        name=_name(study, generator),
        draw=generator.draw,
        num_photos=len(generator.photos),
        details=_details(study, generator, publication),
        limits=_limits(study, generator),
        snippet=_snippet(study, generator, prompt),
        seen=plain(study.inputs.base.sentence),
        counts=f" In numbers: {counts_of(study.inputs.base)}." if study.inputs.base.counts else "",
        protocol=_protocol(study),
        audit=_audit(study),
        training=_training(study),
        fidelity_note=NOTE if likeness else f"Fidelity: {UNMEASURED}.",
        fidelity=_fidelity(likeness, generator.draw) if likeness else "",
    )


def _name(study: Finished, generator: Generator) -> str:
    name = study.name_of(generator.label)
    return code(generator.label) if name == generator.label else f"{code(name)} ({code(generator.label)})"


def _metadata(study: Finished, prompt: str, publication: Publication) -> ModelCardData:
    is_lora = study.dreambooth.method == "lora"
    return ModelCardData(
        license=publication.licence,
        library_name="diffusers",
        pipeline_tag="text-to-image",
        base_model=base_on_hub(study),
        instance_prompt=prompt,
        tags=["stable-diffusion", "dreambooth", "text-to-image", *(["lora"] if is_lora else [])],
    )


def _details(study: Finished, generator: Generator, publication: Publication) -> str:
    settings = study.dreambooth
    method = (
        f"LoRA of rank {settings.lora_rank}, alpha {settings.alpha:g}" if settings.method == "lora" else "all weights"
    )
    trained = "UNet and text encoder" if settings.train_text_encoder else "UNet"
    rows = [
        ("base model", code(name_base(study))),
        ("instance prompt", code(study.concepts[generator.label].instance_prompt)),
        ("method", f"DreamBooth (arXiv 2208.12242), {trained}, {method}"),
        ("seed", str(generator.draw)),
        ("image size", f"{study.inputs.setting('prepare', 'size_pixels') or 'that of the study'} pixels"),
        ("folder in the study", code(str(generator.folder))),
        ("content, as DVC names it", code(study.hash_of(generator.folder) or "not tracked")),
        ("shared by", plain(publication.creator or "not stated")),
        ("licence", plain(publication.licence or UNKNOWN_LICENCE)),
    ]
    return table(("", ""), rows)


def _limits(study: Finished, generator: Generator) -> str:
    lines = [
        f"It knows {plural(len(generator.photos), 'photo')} of its class: it cannot draw what they do not show, and "
        "may draw what they have in common by chance, such as light or background.",
        "Nobody has looked at each image: an image may show another class than its prompt says.",
        "It may repeat its training photos; see the copies below.",
        "It has no safety checker, which blacks out skin-like photos.",
        "Images that leave the study should be marked as made by an algorithm: `sdaug records` writes marked copies.",
    ]
    if study.inputs.base.num_adapted:
        lines.append("Its base was adapted on photos of this study, of all classes.")
    return "\n".join(f"- {line}" for line in lines)


def _snippet(study: Finished, generator: Generator, prompt: str) -> str:
    """How diffusers loads it; the settings are those of the study's images."""
    source = str(generator.folder)
    lines = ["from diffusers import DiffusionPipeline", ""]
    if study.dreambooth.method == "lora":
        lines += [
            f"pipeline = DiffusionPipeline.from_pretrained({str(BASE)!r}, safety_checker=None)",
            f"pipeline.load_lora_weights({source!r}, weight_name='pytorch_lora_weights.safetensors')",
        ]
    else:
        lines.append(f"pipeline = DiffusionPipeline.from_pretrained({source!r}, safety_checker=None)")
    drawing = (study.inputs.setting("synthesize", "drawing") or {}) | {}
    size = study.inputs.setting("prepare", "size_pixels")
    options = {
        "height": size,
        "width": size,
        "num_inference_steps": drawing.get("inference_steps"),
        "guidance_scale": drawing.get("guidance_scale"),
    }
    given = "".join(f", {key}={value!r}" for key, value in options.items() if value is not None)
    return "\n".join([*lines, f"image = pipeline({prompt!r}{given}).images[0]"])


def _protocol(study: Finished) -> str:
    split = study.inputs.split
    if split.protocol == "published":
        return "protocol `published`, which also trains on photos of the groups that are tested"
    return f"protocol `clean`, without the test photos and without validation fold {split.fold}"


def _audit(study: Finished) -> str:
    checks = study.inputs.audit_images.checks
    found = [f"{name.replace('_', ' ')}: {checks[name].verdict}" for name in SEEN_CHECKS if name in checks]
    return f"The audit of what generators saw says: {', '.join(found)}." if found else ""


def _training(study: Finished) -> str:
    settings = study.dreambooth
    rows = [
        ("steps", f"{settings.training_steps}, of {settings.batch_size} photos"),
        ("optimizer", f"{settings.optimizer}, learning rate {settings.learning_rate:g}, schedule {settings.schedule}"),
        ("precision", settings.precision),
        ("mirrored photos", "yes" if settings.flip_horizontal else "no"),
        ("weights that are kept", _kept(study)),
    ]
    if settings.prior_preservation:
        images = study.class_images
        shown = f"{images.num_images} images of the base, prompt {code(images.prompt)}"
        rows.append(("prior preservation", f"{shown}, weight {settings.prior_loss_weight:g}"))
    return table(("setting", "value"), rows)


def _kept(study: Finished) -> str:
    settings = study.dreambooth
    average = f"a moving average, decay {settings.ema_decay:g}" if settings.ema_decay else "the weights themselves"
    step = "the step of the lowest validation loss" if settings.selection == "validation_loss" else "the last step"
    return f"{average}, of {step}"


def _fidelity(found: Likeness, draw: int) -> str:
    share, far, copies = found.judge.share, found.distances, found.copies.share
    of_draw = found.judge.share_of_draw.get(str(draw))
    rows: list[tuple[str, ...]] = [
        (f"recognized, draw {draw}, %", "", "", percent(of_draw, unknown=UNMEASURED)),
        ("recognized, %", *(percent(x, unknown=UNMEASURED) for x in (share.photos, share.before, share.after))),
        ("kernel distance", *(_distance(x.kernel_distance, x.interval) for x in (far.photos, far.before, far.after))),
        ("precision, %", *(percent(x.precision, unknown=UNMEASURED) for x in (far.photos, far.before, far.after))),
        ("recall, %", *(percent(x.recall, unknown=UNMEASURED) for x in (far.photos, far.before, far.after))),
        ("copies, %", percent(copies.photos, unknown=UNMEASURED), "", percent(copies.after, unknown=UNMEASURED)),
    ]
    return table(("figure", "photos", "base, before DreamBooth", "generators"), rows)


def _distance(value: float | None, interval: tuple[float, float] | None) -> str:
    span = f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval else ""
    return number(value, unknown=UNMEASURED) + span
