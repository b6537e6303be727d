-- The verdict of every experiment in this folder that has been run, one row per contrast.
-- Differences are paired by seed (treated minus baseline: same data order, other draws); the
-- interval is Student's over seeds. Of 5 seeds at least. `fvu_of_4` is FVU with each token's four
-- strongest latents alone (table progressive_code).
WITH contrasts(experiment, baseline, treated, metric, smallest_effect) AS (
  VALUES
    ('encoder_init', 'enc-transpose', 'enc-independent', 'dead_train', 0.01),
    ('encoder_init', 'enc-transpose', 'enc-independent', 'fvu', 0.004),
    ('encoder_init', 'enc-transpose-auxk', 'enc-independent-auxk', 'dead_train', 0.01),
    ('encoder_init', 'enc-transpose-auxk', 'enc-independent-auxk', 'fvu', 0.004),
    ('dead_latents', 'dead-neither', 'dead-auxk', 'dead_train', 0.01),
    ('dead_latents', 'dead-neither', 'dead-auxk', 'fvu', 0.004),
    ('dead_latents', 'dead-neither', 'dead-resampled', 'dead_train', 0.01),
    ('dead_latents', 'dead-neither', 'dead-resampled', 'fvu', 0.004),
    ('dead_latents', 'dead-neither', 'dead-resampled-fifth', 'dead_train', 0.01),
    ('dead_latents', 'dead-neither', 'dead-resampled-fifth', 'fvu', 0.004),
    ('dead_latents', 'dead-auxk', 'dead-resampled', 'fvu', 0.004),
    ('loss_scale', 'scale-none', 'scale-variance', 'fvu', 0.002),
    ('loss_scale', 'scale-none', 'scale-token', 'fvu', 0.002),
    ('loss_scale', 'scale-none', 'scale-token-root', 'fvu', 0.002),
    ('loss_scale', 'scale-none', 'scale-variance', 'ce_increase_nats', 0.01),
    ('loss_scale', 'scale-none', 'scale-token', 'ce_increase_nats', 0.01),
    ('loss_scale', 'scale-none', 'scale-token-root', 'ce_increase_nats', 0.01),
    ('data_init', 'start-random', 'start-data', 'fvu', 0.002),
    ('data_init', 'start-random', 'start-data', 'dead_train', 0.005),
    ('data_init', 'start-random', 'start-data-scaled', 'fvu', 0.002),
    ('data_init', 'start-random', 'start-data-scaled', 'dead_train', 0.005),
    ('multi_topk', 'code-topk', 'code-multi-topk', 'fvu', 0.002),
    ('multi_topk', 'code-topk', 'code-multi-topk', 'ce_increase_nats', 0.01),
    ('multi_topk', 'code-topk', 'code-multi-topk', 'fvu_of_4', 0.004),
    ('matryoshka', 'nest-none', 'nest-groups', 'fvu', 0.003),
    ('matryoshka', 'nest-none', 'nest-all', 'fvu', 0.003),
    ('matryoshka', 'nest-groups', 'nest-all', 'fvu', 0.003),
    ('matryoshka', 'nest-groups', 'nest-all', 'ce_increase_nats', 0.01),
    ('matryoshka', 'nest-groups', 'nest-all', 'dead_train', 0.005)
),
-- Student's t of a two-sided 95 % interval with 1, 2, ... degrees of freedom.
student AS (
  SELECT [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201] AS t
),
numbers AS (
  UNPIVOT (
    SELECT recipe, seed, model || '.' || weights || '.' || site AS source,
      evaluations.fvu, evaluations.ce_increase_nats, dead_train, code.fvu AS fvu_of_4
    FROM evaluations LEFT JOIN progressive_code AS code ON code.sae = evaluations.sae AND code.k = 4
  ) ON fvu, ce_increase_nats, dead_train, fvu_of_4 INTO NAME metric VALUE value
),
pairs AS (
  SELECT c.*, b.source, b.seed, b.value AS baseline_value, t.value - b.value AS difference
  FROM contrasts AS c
  JOIN numbers AS b ON b.recipe = c.baseline AND b.metric = c.metric
  JOIN numbers AS t
    ON t.recipe = c.treated AND t.metric = c.metric AND t.seed = b.seed AND t.source = b.source
),
summaries AS (
  SELECT experiment, baseline, treated, metric, smallest_effect, source, count(*) AS seeds,
    avg(baseline_value) AS baseline_mean, avg(difference) AS difference,
    stddev_samp(difference) / sqrt(count(*)) * any_value(student.t[least(seeds - 1, 11)])
      AS half_width
  FROM (SELECT *, count(*) OVER (PARTITION BY baseline, treated, metric, source) AS seeds FROM pairs),
    student
  GROUP BY experiment, baseline, treated, metric, smallest_effect, source
)
SELECT experiment, baseline, treated, metric, seeds, baseline_mean, difference,
  difference - half_width AS ci_low, difference + half_width AS ci_high, smallest_effect,
  CASE
    WHEN seeds < 5 THEN 'too few seeds'
    WHEN difference - half_width > smallest_effect THEN 'higher'
    WHEN difference + half_width < -smallest_effect THEN 'lower'
    WHEN difference + half_width < smallest_effect AND difference - half_width > -smallest_effect
      THEN 'no effect of that size'
    ELSE 'inconclusive'
  END AS verdict
FROM summaries
ORDER BY experiment, metric, baseline, treated
