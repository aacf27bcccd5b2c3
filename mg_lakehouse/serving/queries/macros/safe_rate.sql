create macro safe_rate(numerator, denominator) as
case when denominator = 0 then null else numerator / denominator end
