-- What examples/random_baselines.yaml found, beside what was expected. One row per recipe, weights
-- and quantity: the mean over SAEs or pairs of SAEs, and the lowest and highest of them. MMCS is
-- the mean of both directions over living latents. Measured is NULL where nothing was measured.
--
-- Expected values are other people's, of other models and widths: a difference is no error.
WITH expected(quantity, recipe, weights, expected, source) AS (
  VALUES
    ('MMCS between seeds', 'baseline-l1', 'trained', '> 0.95',
      'told of L1 dictionaries of 2023 by researchers who trained them; no paper found that says so'),
    ('MMCS, trained to this', 'baseline-l1', 'random', '< 0.3', 'the same'),
    ('MMCS, trained to this', 'baseline-l1', 'random_except_embeddings', '< 0.3', 'the same'),
    ('shared between seeds', 'baseline-topk', 'trained', 'about 0.3 of 131,072 latents',
      'Paulo and Belrose (2025), arXiv 2501.16615, on an MLP of Llama 3 8B: paired by the mean of '
      || 'encoder and decoder cosines; here one-to-one pairs of decoder cosine >= 0.7'),
    ('shared between seeds', 'baseline-l1', 'trained', 'more than of TopK', 'the same'),
    ('fire on > 10 % of tokens', 'baseline-l1', 'random', 'most latents',
      'told of Pythia-70m by the same researchers; no paper found that says so'),
    ('fire on one token', 'baseline-topk', 'random', 'more than of trained',
      'Heap et al. (2025), arXiv 2501.17727: random latents look interpretable as token detectors')
),
saes AS (
  SELECT sae, sae_hash, source, model, site, recipe, weights, seed, fvu, l0,
    latents_above_10pct, single_token_latents, token_entropy
  FROM evaluations WHERE recipe IN ('baseline-l1', 'baseline-topk') AND site = 'mlp_out.2'
),
pairs AS (
  SELECT a.recipe, b.weights, (m.mmcs_ab + m.mmcs_ba) / 2 AS mmcs, m.shared_70,
    a.weights = b.weights AS is_seed
  FROM dictionary_matches AS m
  JOIN saes AS a ON m.sae_a = a.sae AND m.sae_a_hash = a.sae_hash
  JOIN saes AS b ON m.sae_b = b.sae AND m.sae_b_hash = b.sae_hash
  WHERE (m.pair = 'other_seed') OR (m.pair = 'other_weights' AND a.weights = 'trained')
),
numbers AS (
  SELECT 1 AS place, 'MMCS between seeds' AS quantity, recipe, weights, mmcs AS value
  FROM pairs WHERE is_seed
  UNION ALL SELECT 2, 'MMCS, trained to this', recipe, weights, mmcs FROM pairs WHERE NOT is_seed
  UNION ALL SELECT 3, 'shared between seeds', recipe, weights, shared_70 FROM pairs WHERE is_seed
  UNION ALL SELECT 4, 'fire on > 10 % of tokens', recipe, weights, latents_above_10pct FROM saes
  UNION ALL SELECT 5, 'fire on one token', recipe, weights, single_token_latents FROM saes
  UNION ALL SELECT 6, 'token entropy (nats)', recipe, weights, token_entropy FROM saes
  UNION ALL SELECT 7, 'FVU', recipe, weights, fvu FROM saes
  UNION ALL SELECT 8, 'L0', recipe, weights, l0 FROM saes
)
SELECT n.quantity, n.recipe, n.weights, round(avg(n.value), 4) AS measured,
  round(min(n.value), 4) AS lowest, round(max(n.value), 4) AS highest, count(n.value) AS n,
  coalesce(any_value(e.expected), '') AS expected, coalesce(any_value(e.source), '') AS source
FROM numbers AS n
LEFT JOIN expected AS e
  ON e.quantity = n.quantity AND e.recipe = n.recipe AND e.weights = n.weights
GROUP BY n.place, n.quantity, n.recipe, n.weights
ORDER BY n.place, n.recipe, n.weights <> 'trained', n.weights
