// Keeps one objective from drowning the others. In each block, where objective i contributes a gradient of norm
// n_i = |w_i| |g_i| and n is the smallest n_i above zero:      w_i <- w_i * min(1, ratio * n / n_i)
#include <cmath>
#include <craft_plugin.hpp>

class ExampleRule {
public:
    static constexpr craft::description about{
        "org.example.ExampleRule", "1.0.0", "Caps the ratio between the objectives' gradient norms."};
    static constexpr craft::parameter<double> ratio{
        "ratio", 10, 1, INFINITY, "Largest ratio between the norms of two contributions."};
    static constexpr auto parameters = craft::list(ratio);

    explicit ExampleRule(const craft::settings &settings) : limit(settings[ratio]) {}

    void cap(craft::array<const double> gram, craft::array<const double> weights, craft::array<double> capped) const {
        const std::size_t blocks = weights.shape(0), m = weights.shape(1);
        for (std::size_t k = 0; k < blocks; k++) {
            double smallest = INFINITY;
            for (std::size_t i = 0; i < m; i++) {
                const double n = std::abs(weights.at(k, i)) * std::sqrt(gram.at(k, i, i));
                if (!std::isfinite(n)) {
                    throw craft::error("block " + std::to_string(k) + ", objective " + std::to_string(i) + ": the norm is "
                        + std::to_string(n));
                }
                if (n > 0 && n < smallest) smallest = n;
                capped.at(k, i) = n;
            }
            for (std::size_t i = 0; i < m; i++) {
                const double n = capped.at(k, i);
                capped.at(k, i) = weights.at(k, i) * (n > limit * smallest ? limit * smallest / n : 1);
            }
        }
    }

private:
    double limit;
};

CRAFT_PLUGIN(ExampleRule,
    craft::hook<&ExampleRule::cap>("gradient_combine", "gram[k,m,m]", "weights[k,m]", "weights[k,m]"))
