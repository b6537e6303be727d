-- The verdict of every experiment in this folder that has been run, one row per contrast.
-- Differences are paired by seed (treated minus baseline: same data order, other draws); the
-- interval is Student's over seeds. Of 5 seeds at least. Metrics that are no column of `evaluations`:
-- `fvu_of_4`, FVU with each token's four strongest latents alone (table progressive_code);
-- `loss_at_end`, the training loss over the last tenth of the budget; `..._at_l0_16`, of an arm whose
-- recipes differ in their number alone, on the line over ln L0 through its two SAEs nearest L0 = 16;
-- `lost_doublings`, of models whose recipes are a half and a whole budget at several learning rates,
-- each at its best one: the difference in FVU from the global shuffle, in doublings of its tokens.
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
    ('matryoshka', 'nest-groups', 'nest-all', 'dead_train', 0.005),
    ('frontier', 'front-topk', 'front-relu', 'fvu_at_l0_16', 0.01),
    ('frontier', 'front-topk', 'front-jumprelu', 'fvu_at_l0_16', 0.01),
    ('frontier', 'front-relu', 'front-gated', 'fvu_at_l0_16', 0.01),
    ('frontier', 'front-relu', 'front-gated', 'l2_ratio_at_l0_16', 0.01),
    ('frontier', 'front-relu', 'front-jumprelu', 'l2_ratio_at_l0_16', 0.01),
    ('frontier', 'front-relu', 'front-topk', 'l2_ratio_at_l0_16', 0.01),
    ('persistent_kde', 'kde-plain', 'kde-persistent', 'fvu', 0.004),
    ('persistent_kde', 'kde-wide', 'kde-persistent', 'fvu', 0.004),
    ('persistent_kde', 'kde-plain', 'kde-persistent', 'l0', 0.5),
    ('persistent_kde', 'kde-wide', 'kde-persistent', 'l0', 0.5),
    ('persistent_kde', 'kde-plain', 'kde-persistent', 'loss_at_end', 0.4),
    ('switch', 'equal-dense', 'equal-switch', 'fvu', 0.004),
    ('switch', 'equal-dense', 'equal-switch', 'ce_increase_nats', 0.01),
    ('switch', 'equal-dense', 'equal-switch', 'dead_train', 0.01),
    ('shuffle', 'order-global', 'order-buffer', 'lost_doublings', 0.1),
    ('shuffle', 'order-global', 'order-sequence', 'lost_doublings', 0.1),
    ('shuffle', 'order-global', 'order-none', 'lost_doublings', 0.1)
),
-- Student's t of a two-sided 95 % interval with 1, 2, ... degrees of freedom.
student AS (
  SELECT [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201] AS t
),
-- What has an arm's name, one row per seed; `judged` is false where L0 = 16 lies outside the arm.
endings AS (
  SELECT c.sae, avg(c.value) AS loss_at_end
  FROM training_curve AS c
  JOIN (SELECT sae, max(tokens) AS tokens FROM training_curve GROUP BY sae) AS whole
    ON whole.sae = c.sae AND c.tokens > 0.9 * whole.tokens
  WHERE c.metric = 'loss'
  GROUP BY c.sae
),
points AS (
  SELECT regexp_replace(recipe, '-[0-9]+$', '') AS arm, seed,
    model || '.' || weights || '.' || site AS source, ln(l0) AS log_l0, fvu, l2_ratio
  FROM evaluations
  WHERE recipe LIKE 'front-%' AND l0 > 0
),
nearest AS (
  SELECT *, row_number() OVER (arm ORDER BY abs(log_l0 - ln(16))) AS place,
    min(log_l0) OVER arm <= ln(16) AND max(log_l0) OVER arm >= ln(16) AS judged
  FROM points
  WINDOW arm AS (PARTITION BY arm, seed, source)
),
at_l0_16 AS (
  SELECT arm, seed, source, judged,
    regr_intercept(fvu, log_l0) + regr_slope(fvu, log_l0) * ln(16) AS fvu_at_l0_16,
    regr_intercept(l2_ratio, log_l0) + regr_slope(l2_ratio, log_l0) * ln(16) AS l2_ratio_at_l0_16
  FROM nearest
  WHERE place <= 2
  GROUP BY arm, seed, source, judged
),
budgets AS (
  SELECT model AS arm, seed, weights || '.' || site AS source, fvu,
    regexp_extract(recipe, '(half|whole)') AS budget,
    avg(fvu) OVER (PARTITION BY model, weights, site, recipe) AS mean_fvu
  FROM evaluations
  WHERE recipe LIKE 'order-%'
),
tuned AS (
  SELECT arm, seed, source, budget, arg_min(fvu, mean_fvu) AS fvu
  FROM budgets
  GROUP BY arm, seed, source, budget
),
doublings AS (
  SELECT t.arm, t.seed, t.source,
    (t.fvu - whole.fvu) / nullif(half.fvu - whole.fvu, 0) AS lost_doublings
  FROM tuned AS t
  JOIN tuned AS whole
    ON whole.seed = t.seed AND whole.source = t.source AND whole.arm = 'order-global'
    AND whole.budget = 'whole'
  JOIN tuned AS half
    ON half.seed = t.seed AND half.source = t.source AND half.arm = 'order-global'
    AND half.budget = 'half'
  WHERE t.budget = 'whole'
),
numbers AS (
  UNPIVOT (
    SELECT recipe AS arm, seed, model || '.' || weights || '.' || site AS source, true AS judged,
      evaluations.fvu, evaluations.l0, evaluations.ce_increase_nats, dead_train, code.fvu AS fvu_of_4,
      loss_at_end
    FROM evaluations
    LEFT JOIN progressive_code AS code ON code.sae = evaluations.sae AND code.k = 4
    LEFT JOIN endings ON endings.sae = evaluations.sae
  ) ON fvu, l0, ce_increase_nats, dead_train, fvu_of_4, loss_at_end INTO NAME metric VALUE value
  UNION ALL BY NAME
  UNPIVOT at_l0_16 ON fvu_at_l0_16, l2_ratio_at_l0_16 INTO NAME metric VALUE value
  UNION ALL BY NAME
  UNPIVOT (SELECT *, true AS judged FROM doublings) ON lost_doublings
    INTO NAME metric VALUE value
),
pairs AS (
  SELECT c.*, b.source, b.seed, b.value AS baseline_value, t.value - b.value AS difference,
    b.judged AND t.judged AS judged
  FROM contrasts AS c
  JOIN numbers AS b ON b.arm = c.baseline AND b.metric = c.metric
  JOIN numbers AS t
    ON t.arm = c.treated AND t.metric = c.metric AND t.seed = b.seed AND t.source = b.source
),
summaries AS (
  SELECT experiment, baseline, treated, metric, smallest_effect, source, count(*) AS seeds,
    bool_and(judged) AS judged, avg(baseline_value) AS baseline_mean, avg(difference) AS difference,
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
    WHEN NOT judged THEN 'L0 of 16 not reached'
    WHEN difference - half_width > smallest_effect THEN 'higher'
    WHEN difference + half_width < -smallest_effect THEN 'lower'
    WHEN difference + half_width < smallest_effect AND difference - half_width > -smallest_effect
      THEN 'no effect of that size'
    ELSE 'inconclusive'
  END AS verdict
FROM summaries
ORDER BY experiment, metric, baseline, treated
