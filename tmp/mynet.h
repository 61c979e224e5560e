
#include <eml_net.h>
static const float mynet_layer_0_biases[4] = { 0.510764f, -0.332435f, 0.397688f, 0.241655f };
static const float mynet_layer_0_weights[20] = { 0.456416f, 0.650219f, 0.689567f, 0.298499f, 0.030675f, 0.261587f, -0.491228f, -0.634835f, -0.532764f, -0.734676f, 0.619227f, 0.170045f, -0.071321f, 0.088005f, 0.808768f, 0.789247f, 0.419779f, -0.272400f, 0.565988f, -0.670824f };
static const float mynet_layer_1_biases[3] = { 0.270922f, 0.636288f, -0.195603f };
static const float mynet_layer_1_weights[12] = { 0.844691f, -0.279065f, 0.859562f, 0.730344f, -0.753776f, -0.166001f, 0.593806f, 0.859615f, -0.768490f, -0.218117f, -0.681393f, -0.300442f };
static float mynet_buf1[5];
static float mynet_buf2[5];
static const EmlNetLayer mynet_layers[2] = { 
{ 4, 5, mynet_layer_0_weights, mynet_layer_0_biases, EmlNetActivationRelu }, 
{ 3, 4, mynet_layer_1_weights, mynet_layer_1_biases, EmlNetActivationSoftmax } };
static EmlNet mynet = { 2, mynet_layers, mynet_buf1, mynet_buf2, 5 };

    int32_t
    mynet_predict(const float *features, int32_t n_features)
    {
        return eml_net_predict(&mynet, features, n_features);
    }
    

    int32_t
    mynet_regress(const float *features, int32_t n_features, float *out, int32_t out_length)
    {
        return eml_net_regress(&mynet, features, n_features, out, out_length);
    }
    

    float
    mynet_regress1(const float *features, int32_t n_features)
    {
        return eml_net_regress1(&mynet, features, n_features);
    }
    