//! HTTP/1.1, sans-IO: request heads, bodies, response heads, chunked encoding.
