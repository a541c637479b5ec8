import Conformance
import Formats
import Foundation
import PluginRuntime
import TestSupport
import Testing

/// Hooks called with values of a file by name, results in full precision.
@Suite struct HookCallTests {
    /// The results, a JSON object a call.
    private func call(_ plugin: String, _ point: HookPoint, _ json: String) throws -> [String] {
        let folder = try TemporaryFolder()
        let path = folder.path("values.json")
        try Data(json.utf8).write(to: URL(fileURLWithPath: path))
        let document = try NamedValues.Document(path: path)
        let request = try #require(try PluginRequest.parseList(plugin).first)
        let library = try PluginLibrary(path: BuildFolder.plugin(request.name))
        let instance = try PluginInstance(library: library, request: request)
        let caller = HookCaller(instance: instance, point: point, source: path)
        return try document.calls.enumerated().map { try caller.call($1, number: $0) }
    }

    private func objects(_ results: [String]) throws -> [[String: Any]] {
        try results.map { try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]) }
    }

    @Test func projectsAConflict() throws {
        // -dot / |r|^2 = 0.5 / 2 is added to the multiplier of the retention gradient.
        let results = try objects(
            call(
                "CRaFTProjection", .gradientCombine,
                """
                {"gram": [[[1, -0.5], [-0.5, 2]], [[1, 0.5], [0.5, 2]]], "weights": [[1, 0.3], [1, 0.3]],
                 "loss.action": 0.2}
                """))
        #expect(results[0]["weights"] as? [[Double]] == [[1, 0.55], [1, 0.3]])
        #expect(results[0]["metric.conflict_ratio"] as? Double == 0.5)
    }

    @Test func aListIsASequenceOfCallsOnOneInstance() throws {
        let results = try objects(
            call(
                "CRaFTDual:budget=0.1:lr=0.01", .postStep,
                #"[{"loss.retention": 0.2, "lambda.retention": 0}, {"loss.retention": 0.25}, {"loss.retention": 0}]"#))
        let lambdas = results.compactMap { $0["lambda.retention"] as? Double }
        #expect(lambdas.count == 3)
        for (got, want) in zip(lambdas, [0.001, 0.0025, 0.0015]) { #expect(abs(got - want) < 1e-15) }
    }

    @Test func numbersComeBackInFull() throws {
        let results = try objects(
            call(
                "CRaFTProjection", .gradientCombine, #"{"gram": [[[1, 1], [1, 1]]], "weights": [[0.1, 1e-300]]}"#))
        #expect(results[0]["weights"] as? [[Double]] == [[0.1, 1e-300]])
        // A float is given with all the digits of its exact value.
        let cotangent = try call(
            "BaselineL1", .preBackward, #"{"predicted_actions": [[[1, 2, 3]]], "target_actions": [[[0, 0, 0]]]}"#)
        #expect(cotangent[0].contains("0.3333333432674408"), "\(cotangent)")
    }

    @Test(arguments: [
        (#"{"gram": [[[1, 0], [0]]]}"#, ConformanceErrorCode.wrongValue, ["gram", "2 and 1", "f64[k,m,m]"]),
        (#"{"gram": 1}"#, .wrongValue, ["gram", "nested 0 deep"]),
        (#"{"gram": [[["a", 0], [0, 1]]]}"#, .wrongValue, ["gram", "\"a\""]),
        (#"{"grm": 1}"#, .unknownName, ["grm", "gram: f64[k,m,m]"]),
        ("{", .malformedFile, ["JSON"]),
        ("7", .malformedFile, ["JSON object"]),
    ])
    func wrongValuesAreNamed(_ json: String, _ code: ConformanceErrorCode, _ words: [String]) throws {
        let error = try #require(throws: ConformanceError.self) {
            _ = try call("CRaFTProjection", .gradientCombine, json)
        }
        #expect(error.code == code, "\(error)")
        for word in words { #expect(error.description.contains(word), "\(json): \(error)") }
    }

    /// What can mean one thing only may be short.
    @Test(arguments: [
        ("UPGrad", #"{"gram": [[1, -1], [-1, 2]]}"#, #"{"weights": [1.0, 0.75]}"#),
        ("UPGrad", #"{"grads": [[1, 0], [-1, 1]], "weights": [1, 1]}"#, #"{"weights": [1.0, 0.75]}"#),
        (
            "PCGrad", #"{"gram": [[[1, -1], [-1, 2]], [[1, 0], [0, 1]]], "weights": [1, 1]}"#,
            #"{"weights": [[2.0, 1.5], [1.0, 1.0]]}"#
        ),
        // Row 0 is the action objective's.
        (
            "PCGrad", #"{"gram": [[1, 0], [0, 1]], "lambda": {"retention": 0.5}}"#,
            #"{"weights": [1.0, 0.5]}"#
        ),
        ("UW", #"{"loss.action": 1, "loss.retention": 2}"#, #"{"weights": [[0.5, 0.5]]}"#),
        ("FAMO", #"{"losses": [1, 2]}"#, #"{"weights": [[0.6666666666666666, 0.3333333333333333]]}"#),
        (
            "AugmentedLagrangian", #"{"loss": 0.2, "lambda": 0.1, "weights": [1, 0.1]}"#,
            #"{"weights": [1.0, 0.2], "metric.retention_effective_lambda": 0.2}"#
        ),
        (
            "PCGrad", #"{"gram": [[1, -1, 0], [-1, 2, -0.5], [0, -0.5, 1]], "order": [2, 1, 0]}"#,
            #"{"weights": [2.25, 1.75, 1.5]}"#
        ),
    ])
    func shortForms(_ plugin: String, _ json: String, _ expected: String) throws {
        #expect(try call(plugin, .gradientCombine, json) == [expected])
    }

    /// The trainer starts every step's weights at the multipliers; a list of calls does too.
    @Test func weightsStartAnewInEveryCall() throws {
        let gram = #"{"gram": [[[1, -0.5], [-0.5, 2]]], "lambda.retention": 0.5}"#
        let results = try objects(call("CRaFTProjection", .gradientCombine, "[\(gram), {}, \(gram)]"))
        let weights = results.map { $0["weights"] as? [[Double]] }
        #expect(weights == [[[1, 0.75]], [[1, 0.75]], [[1, 0.75]]])
    }
}
