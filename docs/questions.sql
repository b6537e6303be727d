-- # Which SAE is best at an L0 near 16?
-- SAEs are compared at the same sparsity only: a lower L0 always costs reconstruction. FVU is the
-- share of variance that is lost; the interval is over documents.
-- expect: ascending fvu
-- expect: l0 in [14, 18]
-- expect: fvu in [0, 1.5]
SELECT sae, l0, fvu, fvu_ci_low, fvu_ci_high, ce_increase_nats, loss_recovered_zero
FROM evaluations
WHERE weights = 'trained' AND l0 BETWEEN 14 AND 18
ORDER BY fvu;

-- # What does a random network give?
-- The same recipe and seeds on the same text, trained on the activations of a network whose weights
-- were drawn and never trained. Rows without a seed are all seeds together, seeds resampled too.
-- expect: ascending recipe
-- expect: n in [2, inf]
SELECT recipe, metric, trained, random, difference, ci_low, ci_high, n, level
FROM trained_vs_random
WHERE seed IS NULL AND metric IN ('fvu', 'token_entropy', 'ce_increase_nats')
ORDER BY recipe, metric;

-- # Which metrics do not tell trained from random?
-- Share of the pairs whose interval contains 0: a metric with a share near 1 says nothing about
-- what training put into the network.
-- Pairs without an interval are not counted: `pairs` says on how many a share rests.
-- expect: descending share_not_separated
-- expect: share_not_separated in [0, 1]
SELECT metric, count(*) AS pairs,
  avg((ci_low <= 0 AND ci_high >= 0)::INTEGER) AS share_not_separated,
  avg(difference) AS mean_difference
FROM trained_vs_random
WHERE seed IS NOT NULL AND ci_low IS NOT NULL
GROUP BY metric
ORDER BY share_not_separated DESC, metric;

-- # Which latents do other seeds find again, and does frequency or entropy tell?
-- Living latents in five groups by firing frequency, cut at its quintiles. `found_by` is the share
-- of other seeds with a one-to-one partner of cosine at least 0.7.
-- expect: ascending mean_frequency
-- expect: found_by in [0, 1]
-- expect: mean_cosine in [-1, 1]
-- expect: mean_frequency in [0, 1]
WITH living AS (
  SELECT firing_frequency, token_entropy, mean_cosine, found_by
  FROM latent_stability JOIN saes USING (sae, sae_hash)
  WHERE weights = 'trained'
), cuts AS (
  SELECT quantile_disc(firing_frequency, [0.2, 0.4, 0.6, 0.8]) AS cut FROM living
)
SELECT 1 + (firing_frequency > cut[1])::INT + (firing_frequency > cut[2])::INT
    + (firing_frequency > cut[3])::INT + (firing_frequency > cut[4])::INT AS fifth,
  count(*) AS latents, avg(firing_frequency) AS mean_frequency, avg(token_entropy) AS mean_entropy,
  avg(mean_cosine) AS mean_cosine, avg(found_by) AS found_by,
  corr(token_entropy, mean_cosine) AS entropy_cosine_correlation
FROM living CROSS JOIN cuts
GROUP BY fifth
ORDER BY fifth;

-- # How alike are the dictionaries of two seeds?
-- MMCS lets many latents share one match; `mean_shared_70` gives each a partner of its own. Compare
-- with what random directions of the same number give. Pairs share seeds, so the interval leaves
-- out one seed with all its pairs at a time; of three seeds it is wide.
-- expect: descending mean_mmcs
-- expect: mean_mmcs in [-1, 1.000001]
-- expect: mean_shared_70 in [0, 1]
SELECT source, recipe, n_pairs, mean_mmcs, mmcs_ci_low, mmcs_ci_high, mean_mmcs_null,
  mean_shared_70
FROM seed_stability
ORDER BY mean_mmcs DESC, source, recipe;

-- # How much of a dictionary would a random network's SAE have found as well?
-- Each trained SAE against its twin on random weights, beside random directions.
-- expect: descending mmcs
-- expect: mmcs in [-1, 1.000001]
-- expect: shared_70 in [0, 1]
SELECT s.recipe, count(*) AS pairs, avg(m.mmcs_ab) AS mmcs, avg(m.mmcs_null_ab) AS mmcs_null,
  avg(m.mmcs_null_z_ab) AS z, avg(m.shared_70) AS shared_70
FROM dictionary_matches AS m JOIN saes AS s ON s.sae = m.sae_a AND s.sae_hash = m.sae_a_hash
WHERE m.pair = 'other_weights' AND s.weights = 'trained'
GROUP BY s.recipe
ORDER BY mmcs DESC;

-- # What do dead latents cost?
-- Numbers stored for latents that never fire on held-out text, beside what the living ones reach.
-- A wide dictionary with dead latents is best judged by the latents that live.
-- These SAEs have none: here that is the answer, and with a short budget at a great width it is not.
-- expect: descending dead_share
-- expect: dead_share in [0, 1]
-- expect: fvu in [0, 1.5]
SELECT recipe, avg(n_latents) AS latents, avg(dead_eval) AS dead_share,
  avg(n_latents * (1 - dead_eval)) AS alive, avg(2 * n_latents * dead_eval * width) AS idle_numbers,
  avg(fvu) AS fvu, avg(ce_increase_nats) AS ce_increase_nats
FROM evaluations
WHERE weights = 'trained' AND status = 'ok'
GROUP BY recipe
ORDER BY dead_share DESC, recipe;

-- # Can I compute loss recovered again from the documents?
-- Every loss is kept as a sum per document, so any ratio can be made again, also over a part of the
-- documents. `difference` is the recomputed value minus the stored one.
-- expect: ascending sae
-- expect: difference in [-1e-9, 1e-9] or null
SELECT sae,
  (sum(ce_zero) - sum(ce_spliced)) / (sum(ce_zero) - sum(ce_clean)) AS recomputed,
  any_value(m.value) AS stored, recomputed - stored AS difference,
  count(*) AS documents, sum(n_predictions)::BIGINT AS predictions
FROM document_sums JOIN metrics AS m USING (sae, sae_hash)
JOIN saes USING (sae, sae_hash)
WHERE m.metric = 'loss_recovered_zero' AND weights = 'trained'
GROUP BY sae
ORDER BY sae;

-- # Which of two recipes costs the language model less, document by document?
-- Paired by seed and document, so that what makes a document hard cancels. The standard error is
-- that of the mean over documents; negative favours the wider SAE.
-- expect: documents in [2, inf]
-- expect: documents_better in [0, 1]
-- expect: standard_error in [0, inf]
WITH per_document AS (
  SELECT source, seed, document, recipe, ce_spliced / n_predictions AS ce
  FROM document_sums JOIN saes USING (sae, sae_hash)
  WHERE n_predictions > 0 AND weights = 'trained'
), paired AS (
  SELECT document, avg(wide.ce - narrow.ce) AS difference
  FROM per_document AS wide JOIN per_document AS narrow USING (source, seed, document)
  WHERE wide.recipe = 'wide16' AND narrow.recipe = 'topk16'
  GROUP BY document
)
SELECT count(*) AS documents, avg(difference) AS mean_difference,
  stddev_samp(difference) / sqrt(count(*)) AS standard_error,
  avg((difference < 0)::INTEGER) AS documents_better
FROM paired;

-- # Which SAEs are on the frontier?
-- No other SAE of the source has a lower or equal L0 and a lower or equal FVU, one of them lower.
-- `loss_dominated` asks the same of the language model's loss.
-- expect: ascending l0
-- expect: descending fvu
SELECT sae, l0, fvu, ce_increase_nats, loss_dominated, loss_dominated_by
FROM pareto_frontier
WHERE source LIKE '%.trained.%' AND NOT dominated
ORDER BY l0;

-- # On which text does a latent fire most?
-- Here the latent with the largest single activation of one SAE; put `latent = 17` for one of yours.
-- `n_searched` says how much text was searched.
-- expect: descending activation
-- expect: n_searched in [1, inf]
SELECT e.latent, e.activation, e.token, e.text, e.document, e.n_searched
FROM latent_examples AS e
WHERE e.kind = 'top' AND e.sae LIKE '%.trained.%/topk16.s0' AND e.latent = (
  SELECT arg_max(latent, max_activation) FROM latents WHERE sae = e.sae AND sae_hash = e.sae_hash
)
ORDER BY e.activation DESC, e.document;

-- # How did training go?
-- FVU of training batches at the first report, the middle one and the last; mean over seeds. Other
-- quantities: SELECT DISTINCT metric FROM training_curve.
-- expect: tokens in [1, inf]
WITH numbered AS (
  SELECT *, row_number() OVER curve AS report, count(*) OVER (PARTITION BY sae, metric) AS reports
  FROM training_curve JOIN saes USING (sae, sae_hash)
  WHERE weights = 'trained' AND status = 'ok' AND metric = 'fvu'
  WINDOW curve AS (PARTITION BY sae, metric ORDER BY step)
)
SELECT recipe, metric, training_curve_tokens AS tokens, avg(value) AS value
FROM (
  SELECT recipe, metric, tokens AS training_curve_tokens, value FROM numbered
  WHERE report IN (1, (reports + 1) // 2, reports)
)
GROUP BY ALL
ORDER BY recipe, metric, tokens;

-- # Which configuration and which commit made a row?
-- Every row carries its run, and the run its commit; the SAE's whole configuration is beside it.
-- expect: fvu in [0, 1.5]
SELECT m.sae, m.value AS fvu, s.config_json ->> 'lr' AS lr, s.config_json ->> 'batch_size' AS batch,
  s.commit AS training_commit, c.commit AS evaluation_commit, c.package_version, s.sae_hash
FROM metrics AS m JOIN saes AS s USING (sae, sae_hash) JOIN commits AS c ON c.run = m.run
WHERE m.metric = 'fvu' AND m.value IS NOT NULL AND s.recipe = 'topk16'
ORDER BY m.sae;

-- # What is left of an SAE without its frequent latents?
-- Latents that fire on more than a share tau of the calibration tokens are dropped; all seeds.
-- expect: fvu in [0, inf]
-- expect: dropped in [0, inf]
SELECT recipe, tau, avg(n_dropped) AS dropped, avg(l0) AS l0, avg(fvu) AS fvu,
  avg(loss_recovered_zero) AS loss_recovered_zero
FROM frequency_cuts
JOIN (SELECT sae, sae_hash, recipe, weights FROM saes) USING (sae, sae_hash)
WHERE tau IN (1, 0.2, 0.1, 0.05, 0.02) AND weights = 'trained' AND recipe LIKE 'topk%'
GROUP BY recipe, tau
ORDER BY recipe, tau DESC;

-- # Is the code progressive: what are its k strongest latents worth?
-- `own` is the FVU of an SAE that was trained at that k, where there is one. Losses rest on the part
-- of the text that `evaluation.curve_tokens` says.
-- expect: descending fvu
-- expect: k in [0, inf]
SELECT p.k, avg(p.fvu) AS fvu, avg(p.ce_increase_nats) AS ce_increase_nats,
  (SELECT avg(e.fvu) FROM evaluations AS e
   WHERE e.weights = 'trained' AND e.recipe = 'topk' || p.k) AS own
FROM progressive_code AS p
JOIN (SELECT sae, sae_hash, recipe, weights FROM saes) USING (sae, sae_hash)
WHERE weights = 'trained' AND recipe = 'topk16'
  AND (p.k = 0 OR p.ce_increase_nats IS NOT NULL)
GROUP BY p.k
ORDER BY p.k;

-- # How many bits does a code take?
-- Which latents fire, how strongly, and the dictionary itself, per token.
-- expect: ascending description_bits
-- expect: location_bits in [0, inf]
SELECT recipe, avg(description_bits) AS description_bits, avg(location_bits) AS location_bits,
  avg(activation_bits) AS activation_bits, avg(dictionary_bits) AS dictionary_bits, avg(fvu) AS fvu
FROM evaluations
WHERE weights = 'trained' AND status = 'ok'
GROUP BY recipe
ORDER BY description_bits;

-- # Were the activations well shuffled?
-- z is the distance from a uniform permutation in standard deviations.
-- expect: ascending source
SELECT source, statistic, value, expected, z, passed
FROM shuffle_quality
ORDER BY source, statistic;

-- # What failed, and why?
-- SAEs that diverged, and numbers that cannot be told: each has its reason.
-- expect: ascending status
-- expect: numbers in [0, inf]
SELECT s.status, s.weights, s.recipe,
  coalesce(m.reason, s.divergence) AS reason,
  count(m.metric) AS numbers, count(DISTINCT s.sae) AS saes, min(m.metric) AS for_example
FROM saes AS s
LEFT JOIN (FROM metrics WHERE value IS NULL) AS m ON m.sae = s.sae AND m.sae_hash = s.sae_hash
WHERE s.status <> 'ok' OR m.metric IS NOT NULL
GROUP BY ALL
ORDER BY s.status, s.weights, s.recipe, numbers DESC, reason;

-- # Are reconstructions shrunk?
-- `l2_ratio` compares lengths; below 1 of `relative_reconstruction_bias` a larger scale would be
-- better.
-- expect: ascending bias
-- expect: l2_ratio in [0, 2]
SELECT recipe, avg(relative_reconstruction_bias) AS bias, avg(l2_ratio) AS l2_ratio,
  avg(cosine) AS cosine, count(*) AS saes
FROM evaluations
WHERE weights = 'trained' AND status = 'ok'
GROUP BY recipe
ORDER BY bias;

-- # What does a wider dictionary add?
-- Living latents of the wide SAE by what the narrow one has of them; see the view's comment.
-- Read `novel` beside question 5: where another seed of the narrow recipe finds few latents again,
-- most latents of a wide dictionary count as novel without adding anything; `stitching` measures that.
-- expect: share in [0, 1]
-- expect: mean_cosine in [-1, 1.000001]
SELECT sae_narrow, sae_wide, class, count(*) AS latents,
  count(*) / sum(count(*)) OVER (PARTITION BY sae_narrow, sae_wide) AS share,
  avg(cosine) AS mean_cosine
FROM width_classes
WHERE sae_wide LIKE '%.trained.%/wide16.%' AND sae_narrow LIKE '%/topk16.%'
GROUP BY sae_narrow, sae_wide, class
ORDER BY sae_narrow, sae_wide, class;

-- # Do latents that only a wider dictionary has lower the loss?
-- Latents of the wide SAE join the narrow one's reconstruction, by their class. Below 0 they help,
-- where the interval ends below 0 surely so: `novel` ones should, those that reconstruct what the
-- narrow one has already should not. Here neither does: two seeds of so small a study find few
-- latents of each other again (question 5), so that nearly all of the wide one's count as novel and
-- add much of one reconstruction twice. The language model's loss still tells the two kinds apart.
-- expect: fvu_change in [-1, 1000] or null
SELECT sae_narrow, added, n_added, fvu_change, fvu_change_ci_low, fvu_change_ci_high,
  ce_change, ce_change_ci_low, ce_change_ci_high
FROM stitching
WHERE sae_wide LIKE '%.trained.%/wide16.%' AND sae_narrow LIKE '%/topk16.%' AND added <> 'nothing'
ORDER BY sae_narrow, added;

-- # Does a single latent know more than the token it stands on?
-- AUC on documents that had no part in choosing the latent. `token` knows the token's id and no
-- activation; `neuron` is the best coordinate of x, `dense` a linear probe on all of x, and
-- `latent_of_random` the same SAE's twin on random weights. Exclusive ors come first. A latent that
-- fires on few tokens ties on all others, which holds its AUC near one half, and a coordinate never
-- ties.
-- expect: latent in [0, 1]
-- expect: latents_5 in [0, 1]
-- expect: neuron in [0, 1]
-- expect: dense in [0, 1]
-- expect: token in [0, 1]
-- expect: latent_of_random in [0, 1] or null
SELECT label, is_xor, any_value(n_positive_test) AS positives, any_value(n_test) AS tokens,
  max(auc) FILTER (weights = 'trained' AND probe = 'latents' AND probes.k = 1) AS latent,
  max(auc) FILTER (weights = 'trained' AND probe = 'latents' AND probes.k = 5) AS latents_5,
  max(auc) FILTER (weights = 'trained' AND probe = 'neurons' AND probes.k = 1) AS neuron,
  max(auc) FILTER (weights = 'trained' AND probe = 'dense') AS dense,
  max(auc) FILTER (weights = 'trained' AND probe = 'token') AS token,
  max(auc) FILTER (weights = 'random' AND probe = 'latents' AND probes.k = 1) AS latent_of_random
FROM probes JOIN saes USING (sae, sae_hash)
WHERE recipe = 'topk16' AND seed = 0 AND auc IS NOT NULL
GROUP BY label, is_xor
ORDER BY is_xor DESC, latent - token DESC;
