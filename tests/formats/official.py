"""pprof's messages as protobuf's own generated classes, from the published schema's numbers and types; an oracle for reader and writer.

Source: https://github.com/google/pprof/blob/main/proto/profile.proto.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_SCHEMA = {
    "ValueType": "1 type i64, 2 unit i64",
    "Label": "1 key i64, 2 str i64, 3 num i64, 4 num_unit i64",
    "Sample": "1 location_id u64*, 2 value i64*, 3 label Label*",
    "Mapping": "1 id u64, 2 memory_start u64, 3 memory_limit u64, 4 file_offset u64, 5 filename i64, 6 build_id i64, 7 has_functions bool, "
    "8 has_filenames bool, 9 has_line_numbers bool, 10 has_inline_frames bool",
    "Line": "1 function_id u64, 2 line i64, 3 column i64",
    "Location": "1 id u64, 2 mapping_id u64, 3 address u64, 4 line Line*, 5 is_folded bool",
    "Function": "1 id u64, 2 name i64, 3 system_name i64, 4 filename i64, 5 start_line i64",
    "Profile": "1 sample_type ValueType*, 2 sample Sample*, 3 mapping Mapping*, 4 location Location*, 5 function Function*, "
    "6 string_table text*, 7 drop_frames i64, 8 keep_frames i64, 9 time_nanos i64, 10 duration_nanos i64, 11 period_type ValueType, "
    "12 period i64, 13 comment i64*, 14 default_sample_type i64",
}
_TYPES = {"u64": 4, "i64": 3, "bool": 8, "text": 9}


def _profile_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="pprof_for_tests.proto", package="perftools.profiles", syntax="proto3")
    for name, fields in _SCHEMA.items():
        message = file.message_type.add(name=name)
        for number, field, kind in (one.split() for one in fields.split(", ")):
            one = message.field.add(number=int(number), name=field, label=3 if kind.endswith("*") else 1)
            kind = kind.removesuffix("*")
            one.type = _TYPES.get(kind, 11)
            if kind not in _TYPES:
                one.type_name = f".perftools.profiles.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("perftools.profiles.Profile"))


PprofProfile = _profile_class()


def pprof_example() -> Any:
    """Two sample types, labels of threads and of a request, an inlined call, a location without lines, an empty stack, no order of ids."""
    p = PprofProfile()
    texts = [""]

    def at(text: str) -> int:
        if text not in texts:
            texts.append(text)
        return texts.index(text)

    for type_, unit in (("samples", "count"), ("cpu", "nanoseconds")):
        p.sample_type.add(type=at(type_), unit=at(unit))
    names = [("main", "/shop/shop.py", 30), ("Shop.total", "/shop/shop.py", 6), ("fib", "/shop/shop.py", 19), ("inner", "/shop/fast.py", 1)]
    for row, (name, file, first) in enumerate(names):
        p.function.add(id=900 - row, name=at(name), system_name=at(name), filename=at(file), start_line=first)
    p.mapping.add(id=7, filename=at("/usr/lib/libc.so.6"))
    p.location.add(id=70).line.add(function_id=900, line=35)
    p.location.add(id=5_000_000_000).line.add(function_id=899, line=7)
    inlined = p.location.add(id=3)
    inlined.line.add(function_id=897, line=2)
    inlined.line.add(function_id=898, line=20)
    p.location.add(id=4, mapping_id=7, address=0xFFFF_FFFF_FFFF_F000)
    rows = [
        ([70], [2, 20], 11),
        ([5_000_000_000, 70], [3, 30_000_000_000], 11),
        ([3, 70], [5, 50], 12),
        ([4, 3, 70], [1, 10], 12),
        ([], [4, 40], 12),
    ]
    for path, values, tid in rows:
        sample = p.sample.add(location_id=path, value=values)
        sample.label.add(key=at("thread id"), num=tid)
        sample.label.add(key=at("tid"), num=tid)
        sample.label.add(key=at("thread name"), str=at(f"worker-{tid}"))
    p.sample[0].label.add(key=at("request"), str=at("/checkout"))
    p.period_type.CopyFrom(p.sample_type[1])
    p.period, p.time_nanos, p.duration_nanos = 10_000_000, 1_700_000_000_000_000_000, 2_000_000_000
    p.comment.append(at("from a test"))
    p.string_table.extend(texts)
    return p


def otlp_example() -> Any:
    """Three shapes of samples in two resources: values at times, times alone, values alone; threads as attributes."""
    from opentelemetry.proto.profiles.v1development import profiles_pb2

    data = profiles_pb2.ProfilesData()
    d = data.dictionary
    texts = [""]

    def at(text: str) -> int:
        if text not in texts:
            texts.append(text)
        return texts.index(text)

    d.mapping_table.add()
    d.mapping_table.add(filename_strindex=at("/usr/lib/libc.so.6"))
    d.location_table.add()
    d.function_table.add()
    d.link_table.add()
    d.attribute_table.add()
    d.stack_table.add()
    for name, file, first in (("main", "/shop/shop.py", 30), ("Shop.total", "/shop/shop.py", 6), ("fib", "/shop/shop.py", 19)):
        d.function_table.add(name_strindex=at(name), system_name_strindex=at(name), filename_strindex=at(file), start_line=first)
    for function, line in ((1, 35), (2, 7)):
        d.location_table.add().lines.add(function_index=function, line=line)
    two = d.location_table.add()
    two.lines.add(function_index=3, line=20)
    two.lines.add(function_index=2, line=8)
    d.location_table.add(mapping_index=1, address=0x7F00_0000_1234)
    for path in ([1], [2, 1], [3, 1], [4, 2, 1]):
        d.stack_table.add(location_indices=path)
    d.attribute_table.add(key_strindex=at("thread.id")).value.int_value = 71
    d.attribute_table.add(key_strindex=at("thread.name")).value.string_value = "waiter"
    d.attribute_table.add(key_strindex=at("http.route")).value.string_value = "/checkout"
    start = 1_700_000_000_000_000_000
    for service, pid in (("shop", 70), ("stock", 90)):
        resource = data.resource_profiles.add()
        for key, value in (("service.name", service), ("telemetry.sdk.language", "python")):
            resource.resource.attributes.add(key=key).value.string_value = value
        resource.resource.attributes.add(key="process.pid").value.int_value = pid
        scope = resource.scope_profiles.add()
        scope.scope.name = "test"
        wall = scope.profiles.add(time_unix_nano=start, duration_nano=2_000_000_000, period=10_000_000)
        wall.sample_type.type_strindex, wall.sample_type.unit_strindex = at("wall"), at("nanoseconds")
        wall.period_type.CopyFrom(wall.sample_type)
        wall.samples.add(stack_index=1, values=[10, 20], timestamps_unix_nano=[start + 5, start + 25], attribute_indices=[1, 2])
        wall.samples.add(stack_index=3, values=[7], timestamps_unix_nano=[start + 50], attribute_indices=[3])
        seen = scope.profiles.add(time_unix_nano=start, duration_nano=2_000_000_000)
        seen.sample_type.type_strindex, seen.sample_type.unit_strindex = at("samples"), at("count")
        seen.samples.add(stack_index=1, timestamps_unix_nano=[start + 5, start + 25], attribute_indices=[1, 2])
        seen.samples.add(stack_index=3, values=[1], attribute_indices=[3])
        seen.samples.add(stack_index=4, values=[1_000_000], attribute_indices=[3])
    d.string_table.extend(texts)
    return data
