//! Keeps one objective from drowning the others. In each block, where objective i contributes a gradient of norm
//! n_i = |w_i| |g_i| and n is the smallest n_i above zero:      w_i <- w_i * min(1, ratio * n / n_i)
#![allow(non_snake_case)] // the crate's name is the plugin's
use craft_plugin::{hooks, Parameter, ParameterRow, Plugin, Result, Settings};

const RATIO: Parameter<f64> =
    Parameter::new("ratio", 10.0, "Largest ratio between the norms of two contributions.").range(1.0, f64::INFINITY);

struct ExampleRule {
    ratio: f64,
}

impl Plugin for ExampleRule {
    const ID: &'static str = "org.example.ExampleRule";
    const VERSION: &'static str = "1.0.0";
    const SUMMARY: &'static str = "Caps the ratio between the objectives' gradient norms.";
    fn parameters() -> Vec<ParameterRow> { vec![RATIO.row()] }
    fn new(settings: &Settings) -> Result<Self> { Ok(Self { ratio: settings.get(RATIO)? }) }
}

hooks! { ExampleRule:
    gradient_combine fn cap(&mut self, gram: Array<f64> = "gram[k,m,m]", weights: Array<f64> = "weights[k,m]")
        -> (capped: ArrayMut<f64> = "weights[k,m]") {
        for k in 0..weights.shape(0) {
            let norm = |i| f64::abs(weights[[k, i]]) * gram[[k, i, i]].sqrt();
            let norms: Vec<f64> = (0..weights.shape(1)).map(norm).collect();
            if let Some(i) = norms.iter().position(|n| !n.is_finite()) {
                return Err(format!("block {}, objective {}: the norm is {}", k, i, norms[i]).into());
            }
            let smallest = norms.iter().copied().filter(|n| *n > 0.0).fold(f64::INFINITY, f64::min);
            for (i, n) in norms.iter().enumerate() {
                let limit = self.ratio * smallest;
                capped[[k, i]] = weights[[k, i]] * if *n > limit { limit / n } else { 1.0 };
            }
        }
        Ok(())
    }
}
craft_plugin::export!(ExampleRule);
