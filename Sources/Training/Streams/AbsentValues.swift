internal import PluginRuntime

extension RunSettings {
    /// Values that a run of these settings never has, by name, each with the reason and what to do about it.
    func absentValues(_ composition: Composition) -> [String: String] {
        var absent: [String: String] = [:]
        func add(_ names: [String], _ prefix: String, _ reason: String) {
            for name in names { absent[prefix + name] = reason }
        }
        let actions = ["predicted_actions", "target_actions", "anchor_actions"]
        let questions = (streams ?? []).filter { $0.kind == .questions }.map(\.name)
        if task == .questions {
            add(actions, "", "questions have no actions; train on demonstrations")
        } else if questions.isEmpty {
            add(
                BatchNames.answers, "",
                "demonstrations have no answers; give questions beside them with `streams` NAME=questions:FOLDER, or train on "
                    + "questions alone (craft pretrain)")
        } else if questions.count > 1 {
            add(
                BatchNames.answers, "",
                "demonstrations have no answers, and of the streams \(questions.joined(separator: ", ")) it is not clear whose; "
                    + "give one stream of questions, or read stream.NAME.text_logits")
        }
        for side in BatchNames.sides(composition) where !(sides ?? []).contains(where: { $0.name == side }) {
            absent["side.\(side)"] =
                "the run was not given it; add `sides` \(side)=FILE, a safetensors file of values by sample"
        }
        for stream in streams ?? [] {
            let prefix = StreamRequest.prefix(of: stream.name)
            switch stream.kind {
            case .questions:
                add(
                    actions, prefix,
                    "the stream is of questions, which have no actions; give `streams` \(stream.name)=demonstrations:FOLDER"
                )
            case .demonstrations:
                add(
                    BatchNames.answers, prefix,
                    "the stream is of demonstrations, which have no answers; give `streams` \(stream.name)=questions:FOLDER"
                )
            }
        }
        return absent
    }
}
