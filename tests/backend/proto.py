"""Messages of `proxy.proto` as classes, read from the file itself: the example needs no compiler."""

import re

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

FIELD = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    "string": FIELD.TYPE_STRING,
    "bytes": FIELD.TYPE_BYTES,
    "bool": FIELD.TYPE_BOOL,
    "int64": FIELD.TYPE_INT64,
    "uint32": FIELD.TYPE_UINT32,
}


def field(message, label, kind, name, number, package):
    made = message.field.add(name=name, number=int(number), label=FIELD.LABEL_OPTIONAL)
    entry = re.fullmatch(r"map<string, (\w+)>", kind)
    if entry:
        nested = message.nested_type.add(name="".join(part.title() for part in name.split("_")) + "Entry")
        nested.options.map_entry = True
        field(nested, "", "string", "key", 1, package)
        field(nested, "", entry[1], "value", 2, package)
        made.label, made.type = FIELD.LABEL_REPEATED, FIELD.TYPE_MESSAGE
        made.type_name = f".{package}.{message.name}.{nested.name}"
        return
    if label:
        made.label = FIELD.LABEL_REPEATED
    if kind in SCALARS:
        made.type = SCALARS[kind]
    else:
        made.type, made.type_name = FIELD.TYPE_MESSAGE, f".{package}.{kind}"


def read(path):
    """The package, and for each method of the service its request and response."""
    text = re.sub(r"//[^\n]*", "", open(path, encoding="utf-8").read())
    package = re.search(r"package ([\w.]+);", text)[1]
    file = descriptor_pb2.FileDescriptorProto(name="proxy.proto", package=package, syntax="proto3")
    for name, body in re.findall(r"message (\w+) \{([^}]*)\}", text):
        message = file.message_type.add(name=name)
        for label, kind, called, number in re.findall(r"(repeated )?(map<[^>]*>|\w+) (\w+) = (\d+);", body):
            field(message, label, kind, called, number, package)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made = lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
    methods = re.findall(r"rpc (\w+)\((\w+)\) returns \((\w+)\)", text)
    return package, {name: (made(request), made(response)) for name, request, response in methods}


def to_dict(message):
    """As JSON has it over HTTP: bytes are the JSON that they hold."""
    import json

    told = json_format.MessageToDict(message, preserving_proto_field_name=True)
    for name in ("data", "meta"):
        raw = getattr(message, name, b"")
        if raw:
            told[name] = json.loads(raw)
    told.setdefault("user", "")
    return told


def from_dict(kind, answer):
    """The other way."""
    import base64
    import json

    def plain(value, key):
        if key in ("data", "info", "meta"):
            return base64.b64encode(json.dumps(value).encode()).decode()
        if isinstance(value, dict):
            return {name: plain(inner, name) for name, inner in value.items()}
        return value

    return json_format.ParseDict(plain(answer, ""), kind(), ignore_unknown_fields=True)
