"""Other writings of a plain SAE that give the same codes and reconstructions."""

from __future__ import annotations

from dataclasses import replace

from sae_core.plain import Gate, PlainSae, Relu, Threshold, TopK


def uncentred(plain: PlainSae) -> PlainSae:
    """The same with no b_dec subtracted: b_enc − W_enc b_dec in the place of b_enc."""
    if not plain.centred:
        return plain
    return replace(plain, b_enc=plain.b_enc - plain.W_enc @ plain.b_dec, centred=False)


def recentred(plain: PlainSae) -> PlainSae:
    """The same with b_dec subtracted; raises ValueError where it is of another width than x."""
    if plain.centred:
        return plain
    if plain.width != plain.written_width:
        raise ValueError(
            f"b_dec of width {plain.written_width} cannot be subtracted from activations of width "
            f"{plain.width}. Allowed: equal widths."
        )
    return replace(plain, b_enc=plain.b_enc + plain.W_enc @ plain.b_dec, centred=True)


def as_topk(plain: PlainSae) -> PlainSae | None:
    """The same with the rule TopK: ReLU keeps the f largest; None where no k gives the same."""
    if isinstance(plain.rule, TopK):
        return plain
    return replace(plain, rule=TopK(plain.n_latents)) if isinstance(plain.rule, Relu) else None


def as_relu(plain: PlainSae) -> PlainSae | None:
    """The same with the rule ReLU: TopK with k = f is one; None for other rules."""
    if isinstance(plain.rule, Relu):
        return plain
    is_all = isinstance(plain.rule, TopK) and plain.rule.k == plain.n_latents
    return replace(plain, rule=Relu()) if is_all else None


def as_threshold(plain: PlainSae) -> PlainSae | None:
    """The same with thresholds; None for TopK and GroupMax, whose latents depend on one another.

    ReLU has θ = 0. A gate is open where e^r π + m > m − e^r b, π = z − b, so the gated SAE is the
    one with encoder e^r W_enc, bias m and θ = max(0, m − e^r b), b the gate's bias.
    """
    rule = plain.rule
    if isinstance(rule, Threshold):
        return plain
    if isinstance(rule, Relu):
        return replace(plain, rule=Threshold(plain.b_enc.new_zeros(plain.n_latents)))
    if isinstance(rule, Gate):
        gain = rule.log_gain.exp()
        theta = (rule.magnitude_bias - gain * rule.bias).clamp(min=0)
        return replace(
            plain,
            W_enc=plain.W_enc * gain.unsqueeze(1),
            b_enc=gain * (plain.b_enc - rule.bias) + rule.magnitude_bias,
            rule=Threshold(theta),
        )
    return None
