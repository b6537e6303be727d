"""Run inside SAELens's environment: makes SAEs, trains one, and answers for folders it loads.

`saelens.py make WORK` and `saelens.py answer WORK`; no part of this project is importable there.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

D, F, K = 12, 40, 5


def main() -> None:
    warnings.simplefilter("ignore")
    work = Path(sys.argv[2])
    {"make": make, "answer": answer, "train": train}[sys.argv[1]](work)


def answer(work: Path) -> None:
    from sae_lens import SAE

    x = load_file(work / "x.safetensors")["x"]
    for folder in sorted((work / "for/saelens").iterdir()):
        sae = SAE.load_from_disk(folder)
        write_answer(sae, x, work / "answers/saelens" / f"{folder.name}.safetensors")


@torch.no_grad()
def write_answer(sae, x: torch.Tensor, path: Path) -> None:
    code, made = sae.encode(x), sae(x)
    if sae.cfg.normalize_activations == "layer_norm":
        code = code * (x - x.mean(-1, keepdim=True)).std(-1, keepdim=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"code": code.contiguous(), "made": made.contiguous()}, path)


@torch.no_grad()
def make(work: Path) -> None:
    import sae_lens
    from sae_lens.saes import transcoder

    shared = {"d_in": D, "d_sae": F}
    made = {
        "standard": sae_lens.StandardSAE(sae_lens.StandardSAEConfig(**shared)),
        "standard-outside": sae_lens.StandardSAE(
            sae_lens.StandardSAEConfig(**shared, apply_b_dec_to_input=False)
        ),
        "topk": sae_lens.TopKSAE(sae_lens.TopKSAEConfig(**shared, k=K)),
        "topk-norms": sae_lens.TopKSAE(
            sae_lens.TopKSAEConfig(**shared, k=K, rescale_acts_by_decoder_norm=True)
        ),
        "topk-layer-norm": sae_lens.TopKSAE(
            sae_lens.TopKSAEConfig(**shared, k=K, normalize_activations="layer_norm")
        ),
        "jumprelu": sae_lens.JumpReLUSAE(sae_lens.JumpReLUSAEConfig(**shared)),
        "gated": sae_lens.GatedSAE(sae_lens.GatedSAEConfig(**shared)),
        "transcoder": transcoder.Transcoder(
            transcoder.TranscoderConfig(**shared, d_out=9, apply_b_dec_to_input=False)
        ),
        "skip-transcoder": transcoder.SkipTranscoder(
            transcoder.SkipTranscoderConfig(**shared, d_out=9, apply_b_dec_to_input=False)
        ),
    }
    draws = torch.Generator().manual_seed(7)
    x = load_file(work / "x.safetensors")["x"]
    for name, sae in made.items():
        for part in sae.parameters():
            part.copy_(0.3 * torch.randn(part.shape, generator=draws))
        if name == "jumprelu":
            sae.threshold.abs_()
        sae.save_model(work / "by/saelens" / name)
        write_answer(sae, x, work / "made/saelens" / f"{name}.safetensors")
    batch_topk(work, x, draws)


@torch.no_grad()
def batch_topk(work: Path, x: torch.Tensor, draws: torch.Generator) -> None:
    """Both ways a BatchTopK SAE is saved: as it is trained, and for inference."""
    from sae_lens import SAE, BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig

    for norms in (False, True):
        config = BatchTopKTrainingSAEConfig(
            d_in=D, d_sae=F, k=K, rescale_acts_by_decoder_norm=norms
        )
        sae = BatchTopKTrainingSAE(config)
        for part in sae.parameters():
            part.copy_(0.3 * torch.randn(part.shape, generator=draws))
        sae.topk_threshold.fill_(0.35)
        name = f"batchtopk{'-norms' if norms else ''}"
        sae.save_inference_model(work / "by/saelens" / f"{name}-inference")
        sae.save_model(work / "by/saelens" / name)
        inference = SAE.load_from_disk(work / "by/saelens" / f"{name}-inference")
        for each in (name, f"{name}-inference"):
            write_answer(inference, x, work / "made/saelens" / f"{each}.safetensors")


def train(work: Path) -> None:
    """A BatchTopK SAE by their trainer on given activations, and their metrics of it."""
    from sae_lens import SAE, BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
    from sae_lens.config import SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    rows = load_file(work / "activations.safetensors")
    x, held_out, width = rows["train"], rows["held_out"], rows["train"].shape[1]
    torch.manual_seed(0)
    sae = BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(d_in=width, d_sae=128, k=8))
    config = SAETrainerConfig(
        total_training_samples=64 * 512, train_batch_size_samples=512, lr=3e-3, lr_end=3e-4
    )

    def batches():
        while True:
            yield x[torch.randint(len(x), (512,))]

    SAETrainer(config, sae, batches()).fit()
    sae.save_inference_model(work / "trained")
    trained = SAE.load_from_disk(work / "trained")
    write_answer(trained, held_out, work / "trained-answer.safetensors")
    metrics = their_metrics(trained, held_out)
    (work / "their-metrics.json").write_text(json.dumps(metrics))


@torch.no_grad()
def their_metrics(sae, x: torch.Tensor) -> dict[str, float]:
    """evals.get_sparsity_and_variance_metrics on given activations, all in one batch."""
    from sae_lens.evals import get_sparsity_and_variance_metrics
    from sae_lens.training.activation_scaler import ActivationScaler

    hook = "blocks.0.hook_resid_post"
    sae.cfg.metadata.hook_name = hook

    class Model:
        def run_with_cache(self, tokens, **_):
            return None, {hook: x.unsqueeze(0)}

    class Store:
        def get_batch_tokens(self, _):
            return torch.zeros(1, len(x), dtype=torch.long)

    metrics, _ = get_sparsity_and_variance_metrics(
        sae,
        Model(),
        Store(),
        ActivationScaler(),
        n_batches=1,
        compute_l2_norms=True,
        compute_sparsity_metrics=True,
        compute_variance_metrics=True,
        compute_featurewise_density_statistics=False,
        eval_batch_size_prompts=1,
        model_kwargs={},
    )
    return metrics


def own_sparsify_loader(folder: Path) -> str:
    """What SAELens's own loader makes of a sparsify folder."""
    from sae_lens import SAE
    from sae_lens.loading.pretrained_sae_loaders import sparsify_disk_loader

    try:
        SAE.load_from_disk(folder, converter=sparsify_disk_loader)
    except (ValueError, RuntimeError) as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return "loads"


if __name__ == "__main__":
    main()
