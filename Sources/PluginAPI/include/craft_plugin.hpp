/* craft_plugin.hpp - craft plugins in C++20, over craft_plugin.h.
 *
 * A plugin is one class with ordinary member functions as hooks. A hook's types are those of the function's parameters;
 * a parameter type that the ABI does not have, or a list of names of another length, does not compile.
 *
 *     struct Dual {
 *         static constexpr craft::description about{"org.example.dual", "1.0.0", "Dual ascent."};
 *         static constexpr craft::parameter<double> budget{"budget", 0.1, 0, INFINITY, "Largest value of the loss."};
 *         static constexpr auto parameters = craft::list(budget);
 *
 *         explicit Dual(const craft::settings &settings) : limit(settings[budget]) {}
 *         void update(double loss, double lambda, double &next) const { next = lambda + 0.01 * (loss - limit); }
 *         double limit;
 *     };
 *     CRAFT_PLUGIN(Dual, craft::hook<&Dual::update>(
 *         "post_step", "loss.retention", "lambda.retention", "lambda.retention"))
 *
 * Parameter types of a hook                                        in the signature
 *     double, std::int64_t                                         f64, i64           inputs
 *     std::optional<double>, std::optional<std::int64_t>           f64?, i64?
 *     craft::array<const T>, std::optional<craft::array<const T>>  T[..], T[..]?      T: float, double, std::int64_t
 *     double &, std::int64_t &                                     f64, i64           results
 *     std::optional<double> &, std::optional<std::int64_t> &       f64?, i64?         left empty: not given
 *     craft::array<T>, std::optional<craft::array<T>>              T[..], T[..]?
 * An array's name carries its axes, "gram[k,m,m]". The signature has inputs before results, in the order of the
 * parameters.
 *
 * An exception that leaves a constructor or a member function ends as its `what()` in the host's error; none crosses the
 * boundary. Threads, phases and lifetimes are those of craft_plugin.h.
 */
#ifndef CRAFT_PLUGIN_HPP
#define CRAFT_PLUGIN_HPP

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "craft_plugin.h"

namespace craft {

/* What to throw: a sentence for the user. Anything derived from std::exception does as well. */
struct error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/* ---- Arrays ------------------------------------------------------------------------------------------------------ */

template <class T>
concept element = std::same_as<T, float> || std::same_as<T, double> || std::same_as<T, std::int64_t>;

/* A borrowed array, compact and row-major, valid until the hook returns. `array<const double>` is an input; a result is
 * an `array<double>`, every element of which must be written. */
template <class T>
    requires element<std::remove_const_t<T>>
class array {
public:
    explicit array(const craft_array &view) : view_(&view) {}

    /* Of a result, asking for it says that the array is given. */
    T *data() const {
        if constexpr (std::same_as<T, std::int64_t>) craft_mark_written(const_cast<craft_array *>(view_));
        return static_cast<T *>(view_->data);
    }
    std::size_t size() const { return static_cast<std::size_t>(craft_count(view_)); }
    std::size_t rank() const { return static_cast<std::size_t>(view_->ndim); }
    std::size_t shape(std::size_t axis) const { return static_cast<std::size_t>(view_->shape[axis]); }

    T *begin() const { return data(); }
    T *end() const { return data() + size(); }
    std::span<T> span() const { return {data(), size()}; }

    /* The element at a flat position, not checked. */
    T &operator[](std::size_t flat) const { return data()[flat]; }

    /* The element at one index per axis. Throws std::out_of_range. */
    template <std::convertible_to<std::size_t>... Index>
    T &at(Index... index) const {
        if (sizeof...(index) != rank()) throw std::out_of_range("an index per axis is needed");
        std::size_t flat = 0, axis = 0;
        for (std::size_t i : {static_cast<std::size_t>(index)...}) {
            if (i >= shape(axis)) throw std::out_of_range("an index is beyond the array's shape");
            flat = flat * shape(axis++) + i;
        }
        return data()[flat];
    }

private:
    const craft_array *view_;
};

/* Puts a text into row `row` of an array [rows, bytes]: its UTF-8 bytes, one an element, and zeros after them. */
inline void write_text(array<std::int64_t> out, std::size_t row, std::string_view text) {
    if (out.rank() != 2 || row >= out.shape(0) || text.size() > out.shape(1))
        throw std::length_error("a text does not fit row " + std::to_string(row) + " of its array: " + std::string(text));
    std::int64_t *bytes = out.data() + row * out.shape(1);
    std::fill(std::transform(text.begin(), text.end(), bytes, [](char c) { return static_cast<unsigned char>(c); }),
              bytes + out.shape(1), 0);
}

/* codes: begin */
/* ---- Codes (generated from Sources/PluginAPI/names.json by scripts/generate_names.py) --------
 *
 * Of a closed list an enumeration, whose values are given by `code`; of an open one, constants. */

template <class E>
    requires std::is_enum_v<E>
constexpr std::int64_t code(E value) { return static_cast<std::int64_t>(value); }

/* What one block of the Gram matrices is. */
enum class block_scope : std::int64_t {
    tensor = 0, /* Each parameter tensor by itself. */
    layer = 1, /* A transformer layer or block; tensors outside of one count with their module. */
    module = 2, /* A tower, the projector, the decoder, the queries, the action head, the proprioception projector. */
    global = 3, /* All parameters. */
};

/* Which hidden state a tap takes; any other value is an index. */
namespace tap_layer {
inline constexpr std::int64_t off = -1; /* None: the tap is turned off. */
inline constexpr std::int64_t all = -2; /* The outputs of all decoder layers. */
}  // namespace tap_layer

/* Positions a tap takes. */
enum class tap_tokens : std::int64_t {
    visual = 0, /* Those of the images. */
    visual_and_prompt = 1, /* Those of the images and of the text. */
    prompt = 2, /* Those of the text. */
    queries = 3, /* The action queries. */
    all = 4, /* All of them, the first token of the prompt too. */
};

/* How a tap reduces its tokens. */
enum class tap_pooling : std::int64_t {
    none = 0, /* Not at all: each token is kept. */
    mean = 1, /* Their mean. */
    max = 2, /* The greatest value of each column. */
};

/* What is put around a probe's text. */
enum class probe_template : std::int64_t {
    question = 0, /* The model's question prompt. */
    action = 1, /* The model's action prompt. */
    none = 2, /* Nothing. */
};

/* What a data stream is of. */
enum class stream_kind : std::int64_t {
    demonstrations = 0, /* Instructions, images and actions. */
    questions = 1, /* Questions about images, with answers. */
};

/* The parameter group a block belongs to. */
enum class block_group : std::int64_t {
    vision = 0, /* The vision towers. */
    projector = 1, /* From the towers to the decoder. */
    decoder = 2, /* The language model. */
    queries = 3, /* The action queries. */
    policy = 4, /* The action head. */
    proprio = 5, /* The projector of the proprioception. */
};

/* What a block's parameters are. */
enum class block_kind : std::int64_t {
    weight = 0, /* A matrix or a convolution. */
    bias = 1, /* The bias of one. */
    norm = 2, /* Scale or shift of a normalisation. */
    embedding = 3, /* A table of vectors by token or position. */
    lora_a = 4, /* The first, narrowing matrix of a low-rank adapter. */
    lora_b = 5, /* The second, widening matrix of a low-rank adapter. */
    query = 6, /* Action queries. */
    mixed = 7, /* Several tensors of different kinds. */
};
/* codes: end */

/* ---- Identity and settings --------------------------------------------------------------------------------------- */

struct description {
    const char *id;      /* unique and never changed: "org.example.my-rule" */
    const char *version; /* of the plugin */
    const char *summary; /* one sentence */
    const char *formula = "";   /* the rule, in lines */
    const char *reference = ""; /* where it comes from */
};

struct text {}; /* parameter<text>: a string, of which settings give a std::string */

/* One setting. The value type is T's: double, std::int64_t, bool, or text. */
template <class T>
    requires std::same_as<T, double> || std::same_as<T, std::int64_t> || std::same_as<T, bool> || std::same_as<T, text>
struct parameter {
    static constexpr bool is_number = std::same_as<T, double> || std::same_as<T, std::int64_t>;
    using stored = std::conditional_t<std::same_as<T, text>, const char *, T>;
    using value = std::conditional_t<std::same_as<T, text>, std::string, T>;

    const char *name;
    stored default_value;
    const char *doc;
    double minimum = -std::numeric_limits<double>::infinity();
    double maximum = std::numeric_limits<double>::infinity();
    std::array<const char *, 16> choices{}; /* ends with NULL */

    constexpr parameter(const char *name, stored default_value, const char *doc)
        : name(name), default_value(default_value), doc(doc) {}

    /* With a range, both ends allowed. */
    constexpr parameter(const char *name, stored default_value, double minimum, double maximum, const char *doc)
        requires is_number
        : name(name), default_value(default_value), doc(doc), minimum(minimum), maximum(maximum) {}

    /* With the only texts allowed, at most 15. */
    constexpr parameter(
        const char *name, stored default_value, std::initializer_list<const char *> allowed, const char *doc)
        requires std::same_as<T, text>
        : name(name), default_value(default_value), doc(doc) {
        std::size_t i = 0;
        if (allowed.size() >= choices.size()) throw std::length_error("at most 15 choices");
        for (const char *choice : allowed) choices[i++] = choice;
    }
};

/* A plugin's parameters. The arguments are static constants: only their addresses are kept. */
template <class... T>
constexpr auto list(const parameter<T> &...parameters) {
    return std::tuple<const parameter<T> *...>(&parameters...);
}

/* What the constructor gets. Valid until it returns. */
class settings {
public:
    explicit settings(const craft_settings &table) : table_(&table) {}

    std::string instance() const { return table_->instance ? table_->instance : ""; }

    /* The value of a parameter that the class lists. Throws when it does not. */
    template <class T>
    typename parameter<T>::value operator[](const parameter<T> &wanted) const {
        for (std::uint32_t i = 0; i < table_->count; i++) {
            const craft_setting *row = craft_setting_at(table_, i);
            if (std::string_view(row->name) != wanted.name) continue;
            if constexpr (std::same_as<T, double>) return row->f64;
            if constexpr (std::same_as<T, std::int64_t>) return row->i64;
            if constexpr (std::same_as<T, bool>) return row->i64 != 0;
            if constexpr (std::same_as<T, text>) return row->text ? row->text : "";
        }
        throw error(std::string("the plugin reads the setting '") + wanted.name + "', which its parameters do not list");
    }

private:
    const craft_settings *table_;
};

/* ---- State ------------------------------------------------------------------------------------------------------- */

/* A plugin that cannot do without names of a later minor of the ABI has `static constexpr std::uint32_t abi_min_minor`: 1
 * for probes. One with state has `static constexpr std::uint32_t state_version` (1 or more), `void save(craft::writer &) const`,
 * `void load(craft::reader &, std::uint32_t version)` and `void reset()`. If load throws, the instance is what it was. */

/* Little-endian values in the order they are read back; bit patterns are kept. */
class writer {
public:
    explicit writer(const craft_output &output) : output_(&output) {}

    void f64(double value) { bytes(&value, sizeof value); }
    void i64(std::int64_t value) { bytes(&value, sizeof value); }
    /* A count, then the values. */
    void f64s(std::span<const double> values) { list(values); }
    void f32s(std::span<const float> values) { list(values); }
    void i64s(std::span<const std::int64_t> values) { list(values); }
    void text(std::string_view value) { list(std::span(value)); }

private:
    template <class T>
    void list(std::span<const T> values) {
        i64(static_cast<std::int64_t>(values.size()));
        bytes(values.data(), values.size_bytes());
    }
    void bytes(const void *data, std::size_t size) {
        if (size > 0 && output_->write(output_->context, data, size) != static_cast<std::int64_t>(size)) {
            throw error("the host could not take the plugin's state");
        }
    }
    const craft_output *output_;
};

/* Every read throws when the state ends early. `limit` bounds what a damaged count can make the plugin allocate. */
class reader {
public:
    explicit reader(const craft_input &input) : input_(&input) {}

    double f64() { return number<double>(); }
    std::int64_t i64() { return number<std::int64_t>(); }
    /* A count, then the values. */
    std::vector<double> f64s(std::int64_t limit = 1 << 24) { return list<std::vector<double>>(limit); }
    std::vector<float> f32s(std::int64_t limit = 1 << 24) { return list<std::vector<float>>(limit); }
    std::vector<std::int64_t> i64s(std::int64_t limit = 1 << 24) { return list<std::vector<std::int64_t>>(limit); }
    std::string text(std::int64_t limit = 1 << 16) { return list<std::string>(limit); }

private:
    template <class T>
    T number() {
        T value;
        bytes(&value, sizeof value);
        return value;
    }
    template <class List>
    List list(std::int64_t limit) {
        const std::int64_t count = i64();
        if (count < 0 || count > limit) {
            throw error("the saved state is damaged: " + std::to_string(count) + " values in a list of at most "
                + std::to_string(limit));
        }
        List values;
        /* In pieces: a damaged count costs no more memory than there is state. */
        for (std::size_t left = static_cast<std::size_t>(count); left > 0;) {
            const std::size_t start = values.size(), piece = std::min<std::size_t>(left, 1 << 16);
            values.resize(start + piece);
            bytes(values.data() + start, piece * sizeof values[0]);
            left -= piece;
        }
        return values;
    }
    void bytes(void *data, std::size_t size) {
        for (std::size_t filled = 0; filled < size;) { /* the host may give fewer bytes than asked for */
            const std::int64_t count = input_->read(input_->context, static_cast<char *>(data) + filled, size - filled);
            if (count <= 0 || static_cast<std::uint64_t>(count) > size - filled) {
                throw error("the saved state ends too early");
            }
            filled += static_cast<std::size_t>(count);
        }
    }
    const craft_input *input_;
};

namespace detail {

/* ---- From a parameter's type to the signature, and from a slot to the parameter ----------------------------------- */

template <class T>
constexpr const char *element_name = std::same_as<T, float> ? "f32" : std::same_as<T, double> ? "f64" : "i64";

/* Types without a specialisation are refused by `method` below. A specialisation says how the signature calls the type,
 * and keeps what a call passes: `get` gives the parameter, `finish` runs when the hook has succeeded. */
template <class T>
struct argument {
    static constexpr bool is_allowed = false, is_result = false, is_array = false, is_optional = false;
};

template <char Code, bool Result, bool Array, bool Optional, class Element>
struct traits {
    static constexpr bool is_allowed = true, is_result = Result, is_array = Array, is_optional = Optional;
    static constexpr char code = Code;
    static constexpr const char *element = element_name<Element>;
    void finish() {}
};

template <class T>
    requires std::same_as<T, double> || std::same_as<T, std::int64_t>
struct argument<T> : traits<std::same_as<T, double> ? 'd' : 'l', false, false, false, T> {
    T value;
    explicit argument(const craft_slot &slot) {
        if constexpr (std::same_as<T, double>) value = slot.f64; else value = slot.i64;
    }
    T get() { return value; }
};

template <class T>
    requires std::same_as<T, double> || std::same_as<T, std::int64_t>
struct argument<std::optional<T>> : traits<std::same_as<T, double> ? 'D' : 'L', false, false, true, T> {
    std::optional<T> value;
    explicit argument(const craft_slot &slot) {
        if constexpr (std::same_as<T, double>) { if (slot.optional_f64) value = *slot.optional_f64; }
        else { if (slot.optional_i64) value = *slot.optional_i64; }
    }
    std::optional<T> get() { return value; }
};

template <class T>
    requires element<T>
struct argument<array<const T>> : traits<'A', false, true, false, T> {
    const craft_array *view;
    explicit argument(const craft_slot &slot) : view(slot.array) {}
    array<const T> get() { return array<const T>(*view); }
};

template <class T>
    requires element<T>
struct argument<std::optional<array<const T>>> : traits<'A', false, true, true, T> {
    const craft_array *view;
    explicit argument(const craft_slot &slot) : view(slot.array) {}
    std::optional<array<const T>> get() {
        return view ? std::optional(array<const T>(*view)) : std::nullopt;
    }
};

template <class T>
T *scalar_result(const craft_slot &slot) {
    if constexpr (std::same_as<T, double>) return slot.f64_result; else return slot.i64_result;
}

template <class T>
    requires std::same_as<T, double> || std::same_as<T, std::int64_t>
struct argument<T &> : traits<std::same_as<T, double> ? 'x' : 'y', true, false, false, T> {
    T *target;
    explicit argument(const craft_slot &slot) : target(scalar_result<T>(slot)) {}
    T &get() { return *target; }
};

template <class T>
    requires std::same_as<T, double> || std::same_as<T, std::int64_t>
struct argument<std::optional<T> &> : traits<std::same_as<T, double> ? 'x' : 'y', true, false, true, T> {
    std::optional<T> value{T{}}; /* then emptied: without a first value gcc warns of one that is not there */
    T *target;
    explicit argument(const craft_slot &slot) : target(scalar_result<T>(slot)) { value.reset(); }
    std::optional<T> &get() { return value; }
    void finish() { if (value) *target = *value; }
};

template <class T>
    requires element<T>
struct argument<array<T>> : traits<'Z', true, true, false, T> {
    craft_array *view;
    explicit argument(const craft_slot &slot) : view(slot.array_result) {}
    array<T> get() { return array<T>(*view); }
};

template <class T>
    requires element<T>
struct argument<std::optional<array<T>>> : traits<'Z', true, true, true, T> {
    craft_array *view;
    explicit argument(const craft_slot &slot) : view(slot.array_result) {}
    std::optional<array<T>> get() { return view ? std::optional(array<T>(*view)) : std::nullopt; }
};

/* Runs `body`; an exception becomes a status and a message. */
template <class Body>
std::int32_t guarded(craft_error *error, Body &&body) noexcept {
    try {
        body();
        return CRAFT_OK;
    } catch (const std::exception &failure) {
        return craft_fail(error, "%s", failure.what());
    } catch (...) {
        return craft_fail(error, "it threw something that is not a std::exception");
    }
}

/* ---- Hooks --------------------------------------------------------------------------------------------------------- */

template <class Owner, class Return, class... Parameter>
struct method_types {
    static_assert(std::is_void_v<Return>, "a hook returns void: results are parameters, failures are exceptions");
    static_assert((argument<Parameter>::is_allowed && ...),
        "a hook has a parameter of a type the ABI does not have: see the table at the top of craft_plugin.hpp");
    static_assert(sizeof...(Parameter) <= CRAFT_MAX_ARITY, "a hook has at most 24 inputs and results");
    using owner = Owner;
    static constexpr std::size_t count = sizeof...(Parameter);
    static constexpr std::array<bool, count> is_result{argument<Parameter>::is_result...};
    static constexpr std::array<bool, count> is_array{argument<Parameter>::is_array...};
    static constexpr std::array<bool, count> is_optional{argument<Parameter>::is_optional...};

    /* The slot of parameter `i`: inputs come first. */
    static constexpr std::size_t slot(std::size_t i) {
        std::size_t position = 0;
        for (std::size_t j = 0; j < count; j++) {
            if (is_result[j] == is_result[i] ? j < i : is_result[i]) position++;
        }
        return position;
    }

    static std::array<const char *, count> elements() { return {argument<Parameter>::element...}; }
    static std::array<char, count> codes() { return {argument<Parameter>::code...}; }

    template <auto Method, std::size_t... I>
    static void call(Owner &owner, const craft_slot *slots, std::index_sequence<I...>) {
        std::tuple<argument<Parameter>...> arguments{argument<Parameter>(slots[slot(I)])...};
        (owner.*Method)(std::get<I>(arguments).get()...);
        (std::get<I>(arguments).finish(), ...);
    }
};

template <class T> struct method;
template <class R, class C, class... A> struct method<R (C::*)(A...)> : method_types<C, R, A...> {};
template <class R, class C, class... A> struct method<R (C::*)(A...) const> : method_types<C, R, A...> {};
template <class R, class C, class... A> struct method<R (C::*)(A...) noexcept> : method_types<C, R, A...> {};
template <class R, class C, class... A> struct method<R (C::*)(A...) const noexcept> : method_types<C, R, A...> {};

template <auto Method>
std::int32_t run(void *self, void *, const craft_slot *slots, craft_error *error) noexcept {
    using types = method<decltype(Method)>;
    return guarded(error, [&] {
        types::template call<Method>(
            *static_cast<typename types::owner *>(self), slots, std::make_index_sequence<types::count>());
    });
}

/* One hook in the class's list: where, which function, and the names of its parameters. */
template <auto Method>
struct hook {
    using types = method<decltype(Method)>;
    using owner = typename types::owner;
    const char *point;
    std::array<const char *, types::count> names;

    std::string signature() const {
        const std::array<const char *, types::count> elements = types::elements();
        std::string text;
        for (bool is_result : {false, true}) {
            if (is_result) text += "-> ";
            for (std::size_t i = 0; i < types::count; i++) {
                if (types::is_result[i] != is_result) continue;
                const std::string_view name = names[i];
                const std::size_t axes = name.find('[');
                text.append(name.substr(0, axes)).append(": ").append(elements[i]);
                if (axes != name.npos) text += name.substr(axes);
                text += types::is_optional[i] ? "?, " : ", ";
            }
        }
        return text;
    }

    std::string codes() const {
        const std::array<char, types::count> all = types::codes();
        std::string inputs, results;
        for (std::size_t i = 0; i < types::count; i++) (types::is_result[i] ? results : inputs) += all[i];
        return inputs + results;
    }
};

}  // namespace detail

/* Declares the member function `Method` as a hook at `point`, with one name per parameter. Point, number of names, and
 * axes on arrays and nowhere else are checked when the plugin is compiled. */
template <auto Method, class... Name>
consteval auto hook(const char *point, Name... name) {
    using types = detail::method<decltype(Method)>;
    static_assert(sizeof...(Name) == types::count, "a hook needs one name for each parameter of its function");
    detail::hook<Method> declared{point, {name...}};
    const std::string_view p = point;
    if (p != "plan" && p != "pre_backward" && p != "gradient_combine" && p != "post_step" && p != "evaluate" && p != "finish") {
        throw "the point is plan, pre_backward, gradient_combine, post_step, evaluate or finish";
    }
    for (std::size_t i = 0; i < types::count; i++) {
        const bool has_axes = std::string_view(declared.names[i]).find('[') != std::string_view::npos;
        if (has_axes != types::is_array[i]) throw "an array's name ends in its axes, \"gram[k,m,m]\"; a number's does not";
    }
    return declared;
}

namespace detail {

/* ---- The plugin table ---------------------------------------------------------------------------------------------- */

template <class P>
concept has_parameters = requires { P::parameters; };

template <class P>
concept has_state = requires(const P &plugin, P &target, writer &output, reader &input) {
    requires P::state_version > 0;
    plugin.save(output);
    target.load(input, std::uint32_t{1});
    target.reset();
};

template <class T>
std::string default_text(const parameter<T> &p) {
    if constexpr (std::same_as<T, text>) return p.default_value;
    else if constexpr (std::same_as<T, bool>) return p.default_value ? "true" : "false";
    else {
        char buffer[64];
        return std::string(buffer, std::to_chars(buffer, buffer + sizeof buffer, p.default_value).ptr);
    }
}

/* Everything the table points to. Made once and never freed. */
struct storage {
    std::vector<std::unique_ptr<std::string>> texts;
    std::vector<craft_parameter> parameters;
    std::vector<craft_hook> hooks;
    craft_plugin table{};

    const char *keep(std::string value) {
        texts.push_back(std::make_unique<std::string>(std::move(value)));
        return texts.back()->c_str();
    }

    template <class T>
    void add(const parameter<T> &p) {
        constexpr std::int32_t type = std::same_as<T, double> ? CRAFT_F64 : std::same_as<T, std::int64_t> ? CRAFT_I64
            : std::same_as<T, bool> ? CRAFT_BOOL : CRAFT_STRING;
        parameters.push_back({p.name, type, 0, keep(default_text(p)), p.minimum, p.maximum,
            p.choices[0] ? p.choices.data() : nullptr, p.doc});
    }

    template <auto Method>
    void add(const hook<Method> &h) {
        const char *signature = keep(h.signature()), *codes = keep(h.codes());
        hooks.push_back({h.point, signature, codes, craft_signature_hash(signature, codes), CRAFT_CALL_FRAME, 0,
            reinterpret_cast<craft_function>(&run<Method>), nullptr});
    }
};

template <class P>
std::int32_t create(const craft_host *, const craft_settings *table, void **self, craft_error *error) noexcept {
    return guarded(error, [&] {
        if constexpr (std::constructible_from<P, const settings &>) *self = new P(settings(*table));
        else *self = new P();
    });
}

template <class P>
void destroy(void *self) noexcept { delete static_cast<P *>(self); }

template <class P>
std::int32_t save(void *self, const craft_output *output, craft_error *error) noexcept {
    return guarded(error, [&] {
        writer to(*output);
        static_cast<const P *>(self)->save(to);
    });
}

template <class P>
std::int32_t load(void *self, const craft_input *input, std::uint32_t version, craft_error *error) noexcept {
    static_assert(std::is_copy_constructible_v<P> && std::is_move_assignable_v<P>,
        "a plugin with state must be copyable: loading is tried on a copy");
    return guarded(error, [&] {
        P loaded(*static_cast<const P *>(self));
        reader from(*input);
        loaded.load(from, version);
        *static_cast<P *>(self) = std::move(loaded);
    });
}

template <class P>
std::int32_t reset(void *self, craft_error *error) noexcept {
    return guarded(error, [&] { static_cast<P *>(self)->reset(); });
}

template <class P>
const void *extension(const char *id) noexcept {
    static const craft_card card{sizeof(craft_card), 0, P::about.formula, P::about.reference};
    return std::string_view(id) == CRAFT_CARD_ID ? &card : nullptr;
}

template <class P, auto... Method>
const craft_plugin *make_table(const hook<Method> &...hooks) noexcept {
    static_assert((std::is_base_of_v<typename hook<Method>::owner, P> && ...), "every hook is a member of the plugin's class");
    static_assert(std::constructible_from<P, const settings &> || std::default_initializable<P>,
        "the plugin's class needs a constructor that takes const craft::settings &, or none");
    try {
        static const craft_plugin *const table = [&] {
            auto &kept = *new storage;
            if constexpr (has_parameters<P>) std::apply([&](const auto *...p) { (kept.add(*p), ...); }, P::parameters);
            (kept.add(hooks), ...);
            craft_plugin &t = kept.table;
            t.struct_size = sizeof(craft_plugin);
            t.abi_major = CRAFT_ABI_MAJOR;
            if constexpr (requires { P::abi_min_minor; }) t.abi_min_minor = P::abi_min_minor;
            t.id = P::about.id;
            t.version = P::about.version;
            t.summary = P::about.summary;
            t.parameters = kept.parameters.data();
            t.parameter_count = static_cast<std::uint32_t>(kept.parameters.size());
            t.parameter_size = sizeof(craft_parameter);
            t.hooks = kept.hooks.data();
            t.hook_count = static_cast<std::uint32_t>(kept.hooks.size());
            t.hook_size = sizeof(craft_hook);
            t.create = create<P>;
            t.destroy = destroy<P>;
            t.extension = extension<P>;
            if constexpr (requires { P::state_version; }) {
                static_assert(has_state<P>, "state_version is at least 1 and comes with save, load and reset");
                t.state_version = P::state_version;
                t.save = save<P>;
                t.load = load<P>;
                t.reset = reset<P>;
            }
            return &t;
        }();
        return table;
    } catch (...) {
        return nullptr; /* out of memory: the host says that there is no table */
    }
}

}  // namespace detail
}  // namespace craft

/* Defines craft_plugin_entry for the class `plugin`; the other arguments are its hooks. Once per library. */
#define CRAFT_PLUGIN(plugin, ...)                                             \
    extern "C" CRAFT_EXPORT const craft_plugin *craft_plugin_entry(void) {    \
        return craft::detail::make_table<plugin>(__VA_ARGS__);                \
    }

#endif /* CRAFT_PLUGIN_HPP */
