// Every rule of the library on two tensors of double, from C++17: memory that frees itself, errors as
// exceptions. Prints for each rule the loss after the last step, with all its digits.
#include <cstddef>
#include <cstdio>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "adarem.h"

namespace {

class Optimizer {
public:
    Optimizer(const std::string &rule, const std::vector<AdaremNamedValue> &settings,
              const std::vector<std::size_t> &lengths)
    {
        const AdaremConfig config = {rule.c_str(),    ADAREM_DTYPE_F64, settings.data(),
                                     settings.size(), lengths.data(),   lengths.size()};
        AdaremError error;
        std::size_t bytes = 0;
        check(adarem_size(&config, &bytes, &error), error);
        memory_.resize((bytes + sizeof(Block) - 1) / sizeof(Block));
        check(adarem_create(&config, memory_.data(), bytes, &optimizer_, &error), error);
    }

    // The optimizer's address is part of it. A vector that is moved keeps its memory where it is.
    Optimizer(const Optimizer &) = delete;
    Optimizer &operator=(const Optimizer &) = delete;
    Optimizer(Optimizer &&) = default;
    Optimizer &operator=(Optimizer &&) = default;

    void step(const std::vector<double *> &theta, const std::vector<const double *> &grad)
    {
        AdaremError error;
        check(adarem_step_f64(optimizer_, theta.data(), grad.data(), &error), error);
    }

private:
    struct alignas(ADAREM_ALIGNMENT) Block {
        unsigned char bytes[ADAREM_ALIGNMENT];
    };

    static void check(AdaremStatus status, const AdaremError &error)
    {
        if (status != ADAREM_STATUS_OK) {
            throw std::runtime_error(error.text);
        }
    }

    std::vector<Block> memory_;
    AdaremOptimizer *optimizer_ = nullptr;
};

// The sum of (k + 1) x_k^2 / 2 over all numbers, and its gradient.
double loss(const std::vector<std::vector<double>> &theta, std::vector<std::vector<double>> &grad)
{
    double sum = 0.0, scale = 0.0;
    for (std::size_t i = 0; i < theta.size(); i++) {
        for (std::size_t j = 0; j < theta[i].size(); j++) {
            scale += 1.0;
            grad[i][j] = scale * theta[i][j];
            sum += 0.5 * grad[i][j] * theta[i][j];
        }
    }
    return sum;
}

double train(const std::string &rule)
{
    std::vector<std::vector<double>> theta = {{1.0, -2.0, 3.0}, {0.5, -0.25, 0.125, 4.0, -1.5}};
    auto grad = theta;
    Optimizer optimizer(rule, {{"lr", 0.05}}, {theta[0].size(), theta[1].size()});
    for (int t = 0; t < 50; t++) {
        loss(theta, grad);
        optimizer.step({theta[0].data(), theta[1].data()}, {grad[0].data(), grad[1].data()});
    }
    return loss(theta, grad);
}

} // namespace

int main()
{
    try {
        char rule[64];
        for (std::size_t i = 0; adarem_rule_name(i, rule, sizeof rule); i++) {
            std::printf("%s %.17g\n", rule, train(rule));
        }
        train("adarm");
    } catch (const std::exception &error) {
        std::printf("%s\n", error.what());
        return 0;
    }
    return 1;
}
