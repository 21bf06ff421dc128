/* The part of ONNX Runtime's binary interface that a library of custom operators needs, written down here so that the library
 * builds without ONNX Runtime's headers. The interface is a table of functions that only ever grows at its end: a slot keeps
 * its number and its signature in every later version. Version 17 is the first that has all slots used here. */
#ifndef DS2TA_ONNX_ABI_H
#define DS2TA_ONNX_ABI_H

#include <stddef.h>
#include <stdint.h>

typedef struct ort_status ort_status;
typedef struct ort_options ort_options;
typedef struct ort_domain ort_domain;
typedef struct ort_info ort_info;       /* of a node, while its kernel is made */
typedef struct ort_context ort_context; /* of one call of a kernel */
typedef struct ort_value ort_value;
typedef struct ort_shape ort_shape;

typedef void (*ort_function)(void);
typedef const ort_function *ort_api;

typedef struct {
    ort_api (*api)(uint32_t version);
    const char *(*version)(void);
} ort_base;

enum { ORT_API_VERSION = 17, ORT_OP_VERSION = 16 };

enum ort_code { ORT_FAIL = 1, ORT_INVALID_ARGUMENT = 2 };

enum ort_type { ORT_ANY = 0, ORT_UINT8 = 2, ORT_INT8 = 3, ORT_INT16 = 5, ORT_INT32 = 6 };

enum ort_presence { ORT_REQUIRED = 0, ORT_OPTIONAL = 1 };

/* A custom operator: version 16's functions, in order. ONNX Runtime passes the structure's own address to most of them. */
typedef struct ort_op ort_op;
struct ort_op {
    uint32_t version;
    void *(*create)(const ort_op *, ort_api, const ort_info *); /* before version 16 */
    const char *(*name)(const ort_op *);
    const char *(*provider)(const ort_op *); /* NULL: the CPU */
    int (*input_type)(const ort_op *, size_t);
    size_t (*input_count)(const ort_op *);
    int (*output_type)(const ort_op *, size_t);
    size_t (*output_count)(const ort_op *);
    void (*compute)(void *, ort_context *); /* before version 16 */
    void (*destroy)(void *);
    int (*input_presence)(const ort_op *, size_t);
    int (*output_presence)(const ort_op *, size_t);
    int (*input_memory)(const ort_op *, size_t);
    int (*variadic_input_least)(const ort_op *);
    int (*variadic_input_same)(const ort_op *);
    int (*variadic_output_least)(const ort_op *);
    int (*variadic_output_same)(const ort_op *);
    ort_status *(*create_kernel)(const ort_op *, ort_api, const ort_info *, void **kernel);
    ort_status *(*compute_kernel)(void *kernel, ort_context *);
};

/* A call of the function in a slot of the table. */
#define ORT_CALL(api, slot, result, ...) ((result(*)(__VA_ARGS__))(api)[slot])

#define ort_create_status(api) ORT_CALL(api, 0, ort_status *, int, const char *)
#define ort_create_domain(api) ORT_CALL(api, 26, ort_status *, const char *, ort_domain **)
#define ort_add_op(api) ORT_CALL(api, 27, ort_status *, ort_domain *, const ort_op *)
#define ort_add_domain(api) ORT_CALL(api, 28, ort_status *, ort_options *, ort_domain *)
#define ort_data(api) ORT_CALL(api, 51, ort_status *, ort_value *, void **)
#define ort_element_type(api) ORT_CALL(api, 60, ort_status *, const ort_shape *, int *)
#define ort_rank(api) ORT_CALL(api, 61, ort_status *, const ort_shape *, size_t *)
#define ort_dimensions(api) ORT_CALL(api, 62, ort_status *, const ort_shape *, int64_t *, size_t)
#define ort_shape_of(api) ORT_CALL(api, 65, ort_status *, const ort_value *, ort_shape **)
#define ort_integer(api) ORT_CALL(api, 86, ort_status *, const ort_info *, const char *, int64_t *)
#define ort_input(api) ORT_CALL(api, 90, ort_status *, const ort_context *, size_t, const ort_value **)
#define ort_output(api) ORT_CALL(api, 91, ort_status *, ort_context *, size_t, const int64_t *, size_t, ort_value **)
#define ort_release_status(api) ORT_CALL(api, 93, void, ort_status *)
#define ort_release_shape(api) ORT_CALL(api, 99, void, ort_shape *)
#define ort_integers(api) ORT_CALL(api, 163, ort_status *, const ort_info *, const char *, int64_t *, size_t *)
#define ort_has_entry(api) ORT_CALL(api, 237, ort_status *, const ort_options *, const char *, int *)
#define ort_entry(api) ORT_CALL(api, 238, ort_status *, const ort_options *, const char *, char *, size_t *)
#define ort_constant(api) ORT_CALL(api, 249, ort_status *, const ort_info *, size_t, int *, const ort_value **)
#define ort_parallel(api) ORT_CALL(api, 274, ort_status *, const ort_context *, void (*)(void *, size_t), size_t, size_t, void *)

#endif
